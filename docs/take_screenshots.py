"""The README's pictures, taken from a running demo: `.venv/bin/python docs/take_screenshots.py demo`.

Needs chromium. Asks one question in each language, signs in with the project's admin key, and writes PNGs to
docs/images.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
QUESTIONS = ("签收几天内可以退货？", "How long is the warranty of the kettle?")
PRODUCT = "hand grinder"


def chat(page: Page) -> None:
    page.goto("/chat")
    for number, question in enumerate(QUESTIONS):
        page.fill("#question", question)
        page.keyboard.press("Enter")
        page.locator(".sources").nth(number).wait_for(timeout=30_000)
    page.screenshot(path=IMAGES / "chat.png")


def console(page: Page, key: str) -> None:
    page.goto("/login")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / "console.png")


def content(page: Page) -> None:
    page.goto("/content")
    page.wait_for_timeout(800)
    page.select_option("#template", "product-description")
    page.fill("[name=name]", PRODUCT)
    page.click("#write")
    page.wait_for_timeout(5000)
    page.screenshot(path=IMAGES / "content.png")


def main() -> None:
    home = Path(sys.argv[1]) / ".tulou"
    url = json.loads((home / "service.json").read_text())["url"]
    key = (home / "admin.key").read_text().strip()
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-US", base_url=url)
        chat(page)
        console(page, key)
        content(page)
        browser.close()


if __name__ == "__main__":
    main()
