"""`python -m her_robotics` is the command `her-robotics`."""

import sys

from .cli import main

sys.exit(main())
