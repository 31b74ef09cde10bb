"""The papers: their tables as data, their printed numbers, and how this study reads them."""
