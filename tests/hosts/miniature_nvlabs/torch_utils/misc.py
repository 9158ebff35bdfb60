import numpy as np
import torch


class InfiniteSampler(torch.utils.data.Sampler):
    def __init__(self, dataset, rank=0, num_replicas=1, seed=0):
        super().__init__(dataset)
        self.size, self.rank, self.step, self.seed = len(dataset), rank, num_replicas, seed

    def __iter__(self):
        rng, position = np.random.RandomState(self.seed), 0
        while True:
            for index in rng.permutation(self.size):
                if position % self.step == self.rank:
                    yield index
                position += 1
