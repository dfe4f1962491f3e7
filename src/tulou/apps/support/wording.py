"""What the assistant says in its own voice: the sentences around an answer, in both languages."""

from __future__ import annotations

from tulou.core.settings import SupportSettings
from tulou.core.types import Language

_DECLINED = {
    "zh": "抱歉，我在我们的资料里没有找到能回答这个问题的内容，不想随便猜测。需要的话，我可以为您转接{contact}。",
    "en": "Sorry, I could not find anything in our documents that answers this, and I would rather not guess. "
    "Shall I put you in touch with {contact}?",
}
_OUTSIDE = {
    "zh": "抱歉，这个问题不在我的服务范围内，我只能解答与本店商品和服务有关的问题。需要的话，我可以为您转接{contact}。",
    "en": "Sorry, that is outside what I can help with: I only answer questions about our products and services. "
    "Shall I put you in touch with {contact}?",
}
_OTHER_LANGUAGE = {
    "zh": "这部分资料目前只有英文版：\n",
    "en": "Our documents cover this in Chinese only:\n",
}
_ALSO = {"zh": "\n\n另外，《{title}》中写道：{text}", "en": "\n\nAlso, from “{title}”: {text}"}
_OUTSIDE_REASONS = ("off_topic", "elsewhere")


def decline(reason: str, language: Language, settings: SupportSettings) -> str:
    """A polite no that offers a person; `reason` as in `relevance.Relevance`."""
    spoken = "zh" if language == "zh" else "en"
    contact = settings.contact_zh if spoken == "zh" else settings.contact_en
    return (_OUTSIDE if reason in _OUTSIDE_REASONS else _DECLINED)[spoken].format(contact=contact)


def before_quote(question: Language, passage: str) -> str:
    """What to say before a quote that is in another language than the question."""
    spoken = "zh" if question == "zh" else "en"
    return "" if passage == spoken or passage == "other" else _OTHER_LANGUAGE[spoken]


def also(language: Language, title: str, text: str) -> str:
    """A further quote, from a document that may be meant as well."""
    return _ALSO["zh" if language == "zh" else "en"].format(title=title, text=text)
