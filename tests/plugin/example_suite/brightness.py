"""A metric of pictures: how much brighter or darker they become."""

from harness.suite import Metric, PictureMetric


class Brightness(PictureMetric):
    """Difference of the mean brightness."""

    metric = Metric("share", "lower", "difference of the mean brightness to the first seconds", 0, 1)

    def __call__(self, pictures, reference):
        return (pictures.mean((2, 3, 4)) - reference.mean((2, 3, 4))).abs()
