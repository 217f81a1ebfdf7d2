"""Tests of the driver: what is judged, read, rendered and drawn, without servers. `python3 -m unittest discover -s bench/compare`."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
