"""The pages in a real browser: they load without a complaint, and a question asked is a question answered."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from tests.apps.bookshop import Bookshop
from tests.apps.fakes import ADMIN_KEY, FakeModels, application, applications

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def url(tmp_path: Path, shop: Bookshop) -> Iterator[str]:
    models = FakeModels(lambda prompt: "普通快递 3 到 5 天送达。" if "几天" in prompt else "Nobody knows.")
    server = uvicorn.Server(
        uvicorn.Config(application(applications(tmp_path, shop, models)), port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_customer_and_an_admin_find_their_way(url: str, size: tuple[int, int]) -> None:
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="zh-CN", base_url=url)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        page.goto("/chat")
        page.fill("#question", "快递几天能送到？")
        page.keyboard.press("Enter")
        page.wait_for_selector(".generated .sources")
        assert page.inner_text(".said") == "普通快递 3 到 5 天送达。"
        page.click("button[value='1']")
        page.wait_for_selector("text=谢谢")
        page.fill("#question", "<img src=x onerror=alert(1)>")
        page.keyboard.press("Enter")
        page.wait_for_selector(".declined .said")
        assert page.locator("#turns img").count() == 0
        page.reload()
        page.wait_for_selector(".generated .sources")
        assert page.locator(".turn").count() == 2

        page.goto("/")
        assert "/login" in page.url
        page.fill("#key", ADMIN_KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector(".tiles")
        for view in ("data", "training", "models", "service", "usage", "conversations", "overview"):
            page.goto(f"/#{view}")
            page.wait_for_selector(f"a[href='/#{view}'][aria-current]", state="attached")
            page.wait_for_selector("main .panel")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} scrolls sideways"
            if view == "data":
                assert "xlsx 4" in page.inner_text("main")
                assert "清洗 tickets" in page.inner_text("main")
            if view == "models":
                assert "tulou models rollback intents" in page.inner_text("main .versions")

        page.goto("/content")
        page.select_option("#template", "product-description")
        page.fill("[name=name]", "墨屏阅读器 R6")
        page.click("#write")
        page.wait_for_selector(".sheet .sources li")
        assert "899 元" in page.inner_text(".sheet .text")
        browser.close()
    assert complaints == []
