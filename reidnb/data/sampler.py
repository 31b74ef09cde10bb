"""Batches of image indices for one epoch, determined by a seed."""

import numpy as np


def pk_batches(labels: np.ndarray, identities: int, images: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """PK sampling (Hermans et al. 2017): batches (steps, P*K) of P identities with K images each.

    Each identity's images are shuffled and split into groups of K; a short group is filled by resampling. Each batch
    takes a group from each of P identities that have groups left, until fewer than P have. An epoch thus shows most
    images once.
    Raises ValueError when there are fewer than P identities.
    """
    labels = np.asarray(labels)
    persons = np.unique(labels)
    if len(persons) < identities:
        raise ValueError(f"PK sampling takes {identities} identities a batch, the training set has {len(persons)}")
    random = np.random.default_rng(seed)
    groups = {}
    for person in persons:
        images_of_person = random.permutation(np.flatnonzero(labels == person))
        missing = -len(images_of_person) % images
        images_of_person = np.concatenate([images_of_person, random.choice(images_of_person, missing)])
        groups[person] = list(images_of_person.reshape(-1, images))
    batches = []
    remaining = list(persons)
    while len(remaining) >= identities:
        chosen = random.choice(len(remaining), identities, replace=False)
        batches.append(np.concatenate([groups[remaining[i]].pop() for i in chosen]))
        remaining = [person for person in remaining if groups[person]]
    return np.stack(batches)


def shuffled_batches(count: int, batch: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Batches (steps, batch) of a shuffled epoch; an incomplete last batch is dropped."""
    if count < batch:
        raise ValueError(f"a batch of {batch} needs as many training images, there are {count}")
    order = np.random.default_rng(seed).permutation(count)
    return order[: count // batch * batch].reshape(-1, batch)
