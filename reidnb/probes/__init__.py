"""What is asked of trained networks beyond their papers, a file a paper; nothing is trained here."""
