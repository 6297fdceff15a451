# AdaFire and then SSC: thresholds raised where it costs least.
method = dict(type="adafire_ssc")
