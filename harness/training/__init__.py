"""Training of backbones and of what strategies add to them: clips, stages, teacher forcing, checkpoints."""
