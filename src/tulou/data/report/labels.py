"""What steps and rules are called in the report, in Chinese and English. What is not listed goes by its own name."""

from __future__ import annotations

from tulou.core.settings import QUALITY_RULES
from tulou.data.collect.files import MEDIA_TYPES

RULES = {
    "encoding.utf8_as_latin1": ("乱码：UTF-8 被当作 Latin-1", "mojibake: UTF-8 read as Latin-1"),
    "encoding.utf8_as_gbk": ("乱码：UTF-8 被当作 GBK", "mojibake: UTF-8 read as GBK"),
    "encoding.gbk_as_latin1": ("乱码：GBK 被当作 Latin-1", "mojibake: GBK read as Latin-1"),
    "encoding.big5_as_latin1": ("乱码：Big5 被当作 Latin-1", "mojibake: Big5 read as Latin-1"),
    "encoding.big5_as_gbk": ("乱码：Big5 被当作 GBK", "mojibake: Big5 read as GBK"),
    "encoding.cp1252_as_latin1": ("乱码：Windows-1252 被当作 Latin-1", "mojibake: Windows-1252 read as Latin-1"),
    "encoding.utf16_as_bytes": ("乱码：UTF-16 被当作单字节", "mojibake: UTF-16 read as single bytes"),
    "markup.tags": ("网页标签", "HTML tags"),
    "markup.entities": ("网页实体", "HTML entities"),
    "characters.invisible": ("不可见字符", "invisible characters"),
    "characters.full_width": ("全角字符", "full-width characters"),
    "characters.composed": ("重音组合", "composed accents"),
    "characters.compatibility": ("兼容字符", "compatibility characters"),
    "chinese.simplified": ("繁体转简体", "traditional to simplified"),
    "space.collapsed": ("多余空白", "surplus white space"),
    "empty.no_text": ("空记录", "empty records"),
    "spelling.en": ("英文拼写", "English spelling"),
    "spelling.zh": ("中文错别字", "Chinese spelling"),
    "quality.too_short": ("过短", "too short"),
    "quality.symbols": ("大多是符号", "mostly symbols"),
    "quality.digits": ("大多是数字", "mostly digits"),
    "quality.language": ("不需要的语言", "another language"),
    "quality.boilerplate": ("套话", "boilerplate"),
    "quality.repetitive": ("重复内容", "the same over and over"),
    "forbidden.word": ("禁用词", "forbidden words"),
    "forbidden.expression": ("禁用表达式", "forbidden expressions"),
    "spam.advertising": ("广告", "advertising"),
    "exact_duplicate.same_text": ("完全重复", "exact copies"),
    "exact_duplicate.other_label": ("文本相同而标签不同", "same text, other label"),
    "near_duplicate.near_copy": ("近似重复", "near copies"),
    "sensitive.PHONE_NUMBER": ("电话号码", "phone numbers"),
    "sensitive.EMAIL_ADDRESS": ("电子邮箱", "e-mail addresses"),
    "sensitive.CN_ID_CARD": ("身份证号", "identity cards"),
    "sensitive.CREDIT_CARD": ("银行卡号", "bank cards"),
    "sensitive.CN_PASSPORT": ("护照号", "passports"),
    "sensitive.CN_SOCIAL_CREDIT_CODE": ("统一社会信用代码", "social credit codes"),
    "sensitive.IBAN_CODE": ("国际银行账号", "IBANs"),
    "sensitive.US_SSN": ("美国社会安全号", "US social security numbers"),
    "sensitive.IP_ADDRESS": ("IP 地址", "IP addresses"),
    "sensitive.CN_LICENSE_PLATE": ("车牌号", "licence plates"),
    "sensitive.PERSON": ("姓名", "names of people"),
    "sensitive.LOCATION": ("地址", "postal addresses"),
    "sensitive.custom": ("自定义词", "listed words"),
}

STEPS = {
    "copies": ("查找副本", "finding copies"),
    "survey": ("逐字通读", "reading through"),
    "encoding": ("编码", "encoding"),
    "markup": ("网页标记", "markup"),
    "characters": ("字符", "characters"),
    "chinese": ("繁简", "Chinese script"),
    "space": ("空白", "white space"),
    "empty": ("空记录", "empty"),
    "spelling": ("拼写", "spelling"),
    "sensitive": ("敏感信息", "sensitive data"),
    "sensitive records": ("含敏感信息的记录", "records with sensitive data"),
    "quality": ("质量", "quality"),
    "forbidden": ("禁用词", "forbidden words"),
    "spam": ("广告", "advertising"),
    "exact_duplicate": ("完全重复", "exact copies"),
    "near_duplicate": ("近似重复", "near copies"),
    "decisions": ("记下决定", "noting decisions"),
    "fingerprint": ("指纹", "fingerprints"),
    "write": ("写出", "writing"),
    **{f"quality {rule}": RULES[f"quality.{rule}"] for rule in QUALITY_RULES},
}

LANGUAGES = {"zh": ("中文", "Chinese"), "en": ("英文", "English"), "other": ("其他", "other")}

_ENDINGS = {media_type: suffix[1:] for suffix, media_type in reversed(MEDIA_TYPES.items())}


def rule_title(rule: str, language: str = "en") -> str:
    """What "step.rule" means, in words."""
    chinese, english = RULES.get(rule, (rule, rule))
    return chinese if language == "zh" else english


def bilingual(words: tuple[str, str] | None, name: str) -> str:
    """Both languages in one line, or the name of what has no words."""
    return " · ".join(words) if words else name


def file_ending(media_type: str) -> str:
    """What people call the type: "pdf"."""
    return _ENDINGS.get(media_type, media_type)
