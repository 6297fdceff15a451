"""The bridge to mmcv, mmdet and mmsegmentation; the only place that knows how they work inside."""
