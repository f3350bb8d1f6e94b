"""Which file of which npm package is served to browsers, and the copying. Only browser-ready files; licences with them."""

import shutil
from pathlib import Path

# (below node_modules, below static/vendor); a pattern copies each match into the folder.
TABLE = [
    ("marked/lib/marked.esm.js", "marked/marked.esm.js"),
    ("marked/LICENSE", "marked/LICENSE"),
    ("dompurify/dist/purify.es.mjs", "dompurify/purify.es.mjs"),
    ("dompurify/LICENSE", "dompurify/LICENSE"),
    ("@highlightjs/cdn-assets/es/highlight.min.js", "highlight/highlight.min.js"),
    ("@highlightjs/cdn-assets/styles/github.min.css", "highlight/github.min.css"),
    ("@highlightjs/cdn-assets/styles/github-dark.min.css", "highlight/github-dark.min.css"),
    ("@highlightjs/cdn-assets/LICENSE", "highlight/LICENSE"),
    ("katex/dist/katex.mjs", "katex/katex.mjs"),
    ("katex/dist/katex.min.css", "katex/katex.min.css"),
    ("katex/dist/fonts/*.woff2", "katex/fonts"),
    ("katex/LICENSE", "katex/LICENSE"),
    ("uplot/dist/uPlot.esm.js", "uplot/uPlot.esm.js"),
    ("uplot/dist/uPlot.min.css", "uplot/uPlot.min.css"),
    ("uplot/LICENSE", "uplot/LICENSE"),
]


def copy(root: Path, stamp: str) -> None:
    """Fills static/vendor anew, whole or not at all; `stamp` in it tells from what.

    Raises FileNotFoundError when a package no longer has a file of the table.
    """
    draft, place = root / "static" / "vendor.new", root / "static" / "vendor"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for source, target in TABLE:
            found = sorted((root / "node_modules").glob(source))
            if not found:
                raise FileNotFoundError(f"node_modules/{source} is missing: scripts/vendor.py names it")
            for path in found:
                to = draft / target / path.name if "*" in source else draft / target
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
        (draft / ".stamp").write_text(stamp)
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
