"""Searches for settings: files that `wandb sweep` takes too, and a local study by Optuna."""
