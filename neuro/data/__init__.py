"""Real data sets behind one interface, with time-first batches."""

from neuro.data.base import Dataset, Split
from neuro.data.registry import DatasetInfo, dataset_names, describe, load_dataset

__all__ = ["Dataset", "DatasetInfo", "Split", "dataset_names", "describe", "load_dataset"]
