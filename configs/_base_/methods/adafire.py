# AdaFire: φ per layer under the budget of a uniform φ.
method = dict(type="adafire")
