"""Goal-conditioned manipulation learnt from sparse rewards: UVFA, DDPG and hindsight."""

__version__ = "0.1.0"
