"""Batches of image indices for one epoch, decided by a seed alone."""

import numpy as np


def pk_batches(labels: np.ndarray, identities: int, images: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """PK sampling (Hermans et al. 2017): batches (steps, P*K) of P identities with K images each.

    Each identity's images are shuffled and dealt in groups of K, short groups filled by drawing again; batches
    take P identities that have groups left, until fewer than P have. So an epoch shows most images once.
    Raises ValueError when there are fewer than P identities.
    """
    labels = np.asarray(labels)
    people = np.unique(labels)
    if len(people) < identities:
        raise ValueError(f"PK sampling takes {identities} identities a batch, the training set has {len(people)}")
    random = np.random.default_rng(seed)
    groups = {}
    for person in people:
        own = random.permutation(np.flatnonzero(labels == person))
        short = -len(own) % images
        own = np.concatenate([own, random.choice(own, short)])
        groups[person] = list(own.reshape(-1, images))
    batches = []
    left = list(people)
    while len(left) >= identities:
        chosen = random.choice(len(left), identities, replace=False)
        batches.append(np.concatenate([groups[left[i]].pop() for i in chosen]))
        left = [person for person in left if groups[person]]
    return np.stack(batches)


def shuffled_batches(count: int, batch: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Batches (steps, batch) of a shuffled epoch; what does not fill a last batch is left out."""
    if count < batch:
        raise ValueError(f"a batch of {batch} needs as many training images, there are {count}")
    order = np.random.default_rng(seed).permutation(count)
    return order[: count // batch * batch].reshape(-1, batch)
