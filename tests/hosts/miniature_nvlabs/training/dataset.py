import numpy as np
import torch


class ImageFolderDataset(torch.utils.data.Dataset):
    def __init__(self, path, use_labels, xflip):
        self.path, self.use_labels = path, use_labels
        with np.load(path) as found:
            self.images, self.classes = found["x"], found["y"]
        self._raw_idx = np.tile(np.arange(len(self.images)), 1 + xflip)
        self._xflip = np.repeat(np.arange(1 + xflip), len(self.images))
        self.resolution, self.num_channels = self.images.shape[2], self.images.shape[1]

    def _load_raw_labels(self):
        return self.classes

    has_labels = property(lambda self: self.use_labels)
    has_onehot_labels = property(lambda self: self.classes.dtype == np.int64)
    label_dim = property(lambda self: int(self.classes.max()) + 1 if self.use_labels else 0)

    def __len__(self):
        return len(self._raw_idx)

    def get_label(self, index):
        label = np.zeros(self.label_dim, np.float32)
        if self.use_labels:
            label[self.classes[self._raw_idx[index]]] = 1
        return label

    def __getitem__(self, index):
        image = self.images[self._raw_idx[index]]
        return (image[:, :, ::-1] if self._xflip[index] else image).copy(), self.get_label(index)
