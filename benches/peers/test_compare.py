"""Tests of `compare` with peers that answer what a test tells them: python3 -m unittest discover benches/peers"""

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Answers every case with the time given as the first argument, and 10 MFLOP or what the second says; `die` ends it instead.
FAKE = r"""
import json, sys
ms, mflop = sys.argv[1], float(sys.argv[2])
print("a line that is no answer")
print(json.dumps({"name": "fake", "version": "1", "adapter": sys.argv[3]}), flush=True)
for line in sys.stdin:
    case, shape = line.strip().split(" ", 1)
    if ms == "die":
        sys.exit(1)
    if ms == "fail":
        print(json.dumps({"case": case, "error": "no such kernel"}), flush=True)
        continue
    t = float(ms)
    print(json.dumps({"case": case, "shape": shape, "median_ms": t, "samples_ms": [t], "gflops": mflop / t, "first_ms": 1000}), flush=True)
"""


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name)
        (self.path / "fake.py").write_text(FAKE)
        (self.path / "cases").write_text("# two\ngemm 2x2x2\nconv2d.forward b1 1->1 1x1 k1 s1\n")

    def fake(self, ms, mflop=10, adapter="chip"):
        return f"{sys.executable} {self.path / 'fake.py'} {ms} {mflop} {adapter}"

    def compare(self, ours, **peers):
        command = [sys.executable, str(HERE / "compare"), "--cases", str(self.path / "cases"), "--ours", ours]
        for name, peer in peers.items():
            command += ["--peer", f"{name}={peer}"]
        return subprocess.run([*command, "--json", str(self.path / "out.json")], capture_output=True, text=True, timeout=60)

    def test_ratios_are_their_time_over_ours(self):
        done = self.compare(self.fake(2), Slow=self.fake(8), Fast=self.fake(1, adapter="other"))
        self.assertEqual(done.returncode, 0, done.stderr)
        row = re.search(r"^gemm 2x2x2 .*$", done.stdout, re.M).group().split()
        self.assertEqual(row[2:], ["5.00", "1.25", "10.00", "4.00", "0.50<"])
        self.assertIn("Slow: ahead in 2 of 2 cases, 4.00 to 4.00\n", done.stdout)
        self.assertIn("Fast: ahead in 0 of 2 cases, 0.50 to 0.50, behind in:\n", done.stdout)
        self.assertIn("not our adapter, but the same machine", re.search(r"^Fast .*$", done.stdout, re.M).group())
        self.assertNotIn("same machine", re.search(r"^Slow .*$", done.stdout, re.M).group())
        out = json.loads((self.path / "out.json").read_text())
        self.assertEqual(out["ratios"]["gemm 2x2x2"], {"Slow": 4, "Fast": 0.5})
        self.assertEqual(len(out["rounds"]["gemm 2x2x2"]), 3)

    def test_a_peer_that_fails_or_dies_leaves_the_others(self):
        done = self.compare(self.fake(2), Dead=self.fake("die"), Broken=self.fake("fail"), Fine=self.fake(4))
        self.assertEqual(done.returncode, 0, done.stderr)
        row = re.search(r"^gemm 2x2x2 .*$", done.stdout, re.M).group().split()
        self.assertEqual(row[2:], ["5.00", "-", "-", "2.50", "-", "-", "2.00"])
        self.assertIn("failed: Dead, gemm 2x2x2: the process ended", done.stdout)
        self.assertIn("failed: Broken, conv2d.forward b1 1->1 1x1 k1 s1: no such kernel", done.stdout)

    def test_a_peer_that_does_not_start_is_left_out_and_the_comparison_fails_at_its_end(self):
        done = self.compare(self.fake(2), Mute="true", Fine=self.fake(4))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("left out: Mute does not start: the process ended (true", done.stderr)
        self.assertIn("Fine: ahead in 2 of 2 cases, 2.00 to 2.00\n", done.stdout)
        self.assertEqual(json.loads((self.path / "out.json").read_text())["ratios"]["gemm 2x2x2"], {"Fine": 2})
        done = self.compare("true", Fine=self.fake(4))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("error: ours does not start", done.stderr)

    def test_different_work_is_no_comparison(self):
        done = self.compare(self.fake(2), Other=self.fake(2, mflop=11))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not the same work for `gemm 2x2x2`", done.stderr)

    def test_a_peer_that_is_not_built_is_named(self):
        done = self.compare(self.fake(2), Absent="/nonexistent/peer")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nonexistent/peer is not there", done.stderr)


if __name__ == "__main__":
    unittest.main()
