import pytest

from tulou.data.language import detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我的包裹到哪里了？", "zh"),
        ("iPhone 15 保修多久", "zh"),
        ("Does the 云雀 kettle whistle when it boils?", "en"),
        ("Where is my parcel?", "en"),
        ("これは日本語の文章です", "other"),
        ("где моя посылка", "other"),
        ("12345 !!!", "other"),
        ("", "other"),
    ],
)
def test_language_is_told_by_script(text: str, language: str) -> None:
    assert detect(text) == language
