"""Browse finished runs: ``tables`` and ``distances`` compute, ``pictures`` draws, ``widgets`` reacts to clicks.

``widgets.Explorer`` is that of ``notebooks/explore.ipynb``, ``folder.FolderSearch`` that of ``notebooks/search.ipynb``.

Ranking lists, filters and scores come from what each run saved (rankings.npz, queries.npz), so browsing loads no
network. Only heat maps, distances and a picture of the user's need the run's weights or its saved descriptors.
"""
