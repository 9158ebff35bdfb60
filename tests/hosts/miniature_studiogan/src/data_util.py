"""Images in folders, one a class."""

import os

from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder


class Dataset_(Dataset):  # noqa: N801
    def __init__(self, data_dir, train, random_flip):
        self.data = ImageFolder(os.path.join(data_dir, "train" if train else "valid"))
        self.trsf_list = [transforms.RandomHorizontalFlip()] if random_flip else []
        self.trsf_list += [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        self.trsf = transforms.Compose(self.trsf_list)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        img, label = self.data[index]
        return self.trsf(img), int(label)
