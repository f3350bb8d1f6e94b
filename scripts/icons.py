"""The icons of an installed Maru from static/mark.svg, drawn once by Chromium: `.venv/bin/python scripts/icons.py`.

The PNG files are kept in the repository; this is how to make them anew when the mark changes.
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

STATIC = Path(__file__).resolve().parent.parent / "static"
# File, its size in pixels, whether the wood runs to the edges: a mask may cut off all but the middle four fifths, and
# iOS rounds the corners by itself. Else the corners are the mark's own.
ICONS = [
    ("icon-192.png", 192, False),
    ("icon-512.png", 512, False),
    ("icon-maskable.png", 512, True),
    ("icon-180.png", 180, True),
]


def page(mark: str, size: int, whole: bool) -> str:
    """whole: the mark's ground fills all, without corners; its seams keep to the safe middle and run out of it."""
    if whole:
        mark = mark.replace('viewBox="1 1 22 22"', 'viewBox="2 2 20 20"').replace(' rx="3"', "")
    return f"<style>*{{margin:0}}svg{{display:block;width:{size}px;height:{size}px}}</style>{mark}"


def main() -> None:
    mark = (STATIC / "mark.svg").read_text()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, size, whole in ICONS:
            tab = browser.new_page(viewport={"width": size, "height": size})
            tab.set_content(page(mark, size, whole))
            tab.screenshot(path=STATIC / "img" / name, omit_background=True)
            print(STATIC / "img" / name)
        browser.close()


if __name__ == "__main__":
    main()
