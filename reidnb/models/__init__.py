"""The parts that the papers' networks share: backbone, losses, outputs."""
