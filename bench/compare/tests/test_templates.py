"""Settings of servers: marks are replaced, and every template of this repository can be rendered."""
import os
import tempfile
import unittest

import peers
import template
from place import Place


class Marks(unittest.TestCase):
    def test_values(self):
        self.assertEqual(template.render("a @{x} $y {z}", {"x": 1}), "a 1 $y {z}")

    def test_conditions(self):
        text = "a\n@{if h3}\nquic\n@{end}\n@{if not h3}\nnone\n@{end}\nb"
        self.assertEqual(template.render(text, {"h3": True}), "a\nquic\nb")
        self.assertEqual(template.render(text, {}), "a\nnone\nb")

    def test_repetitions_within_conditions(self):
        text = "@{if on}\n@{for n}\nr@{n}\n@{end}\n@{end}"
        self.assertEqual(template.render(text, {"on": True, "n": [1, 2]}), "r1\nr2")
        self.assertEqual(template.render(text, {"n": [1, 2]}), "")

    def test_a_control_line_may_be_indented(self):
        self.assertEqual(template.render("  @{if a}\n  x\n  @{end}", {"a": 1}), "  x")

    def test_mistakes_say_where(self):
        for text, said in (("@{no}", "@{no} is not known"), ("a\n@{if x}\nb", "line 2: no end"), ("a\n@{end}", "line 2: an end")):
            with self.assertRaisesRegex(template.TemplateError, said.replace("{", "[{]")):
                template.render(text, {"x": 1})


class Files(unittest.TestCase):
    def test_every_template_of_every_peer(self):
        with tempfile.TemporaryDirectory() as folder:
            values = {**Place(folder).values(), "dir": "/d", "h1": 1, "tls": 2, "origin": 3, "route": range(3)}
            for kind in peers.kinds():
                peer = peers.Peer(kind, "/no/such/program")
                for name in [peer.settings["config"], *peer.settings.get("more", [])]:
                    for extra in ({}, dict.fromkeys([*peer.can, *peer.settings.get("detect", {}), "many"], True)):
                        with self.subTest(kind=kind, file=name, extra=extra), open(os.path.join(peer.folder, name)) as f:
                            self.assertNotIn("@{", template.render(f.read(), {**extra, **values}))

    def test_a_program_of_another_version_has_the_settings_of_its_kind(self):
        peer = peers.Peer("nginx-1.26", "/no/such/program")
        self.assertEqual((peer.title(), os.path.basename(peer.folder)), ("nginx 1.26", "nginx"))


if __name__ == "__main__":
    unittest.main()
