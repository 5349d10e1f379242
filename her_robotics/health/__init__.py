"""Whether this machine can train: what `her-robotics doctor` finds out, but for physics.

A check is a function that gives a ``Finding``; those of physics are in ``envs.health``, and
``her_robotics.cli.doctoring`` has the table of all.
"""

from .finding import Finding, failed, noted, passed

__all__ = ["Finding", "failed", "noted", "passed"]
