"""Tests of the driver: the script, the origin that misbehaves, figures and verdicts, the report, the settings; no server is run.
`python3 -m unittest discover -s bench/chaos/tests -t bench/chaos`."""
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(_HERE, ".."), os.path.join(_HERE, "..", "..", "compare")]
