"""Seeded values of every kind of sensitive data, numbers that only look like them, and sentences to carry both.

The sentences here were at hand while the rules were written; those in `sensitive_held_out` were written afterwards and
are what recall and precision are measured on.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from ipaddress import IPv6Address

from tests.data.sensitive_words import (
    CHINESE_GIVEN,
    CHINESE_SURNAMES,
    CITIES,
    ENGLISH_GIVEN,
    ENGLISH_SURNAMES,
    STREETS_EN,
    STREETS_ZH,
)

from tulou.data.clean.sensitive.checks import luhn

Rng = random.Random
Make = Callable[[Rng], str]
Carriers = dict[str, list[str]]  # language to sentences with {}

_CREDIT_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WIDE = {ord(char): ord(char) + 0xFEE0 for char in string.digits + string.ascii_letters}


@dataclass(frozen=True)
class Sample:
    text: str
    start: int
    end: int


def digits(rng: Rng, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def disguised(rng: Rng, value: str) -> str:
    """The value as people and web pages also write it: in full width, or with zero-width characters inside."""
    roll = rng.random()
    if roll < 0.08:
        return value.translate(_WIDE)
    if roll < 0.14:
        place = rng.randrange(1, len(value))
        return value[:place] + rng.choice("\u200b\u200d\u2060\ufeff") + value[place:]
    return value


def in_groups(value: str, sizes: list[int], separator: str) -> str:
    parts, done = [], 0
    for size in sizes:
        parts.append(value[done : done + size])
        done += size
    return separator.join([*parts, value[done:]] if done < len(value) else parts)


def phone(rng: Rng) -> str:
    mobile = f"1{rng.choice('3456789')}{digits(rng, 9)}"
    roll = rng.random()
    if roll < 0.45:
        return disguised(rng, mobile)
    if roll < 0.6:
        return disguised(rng, in_groups(mobile, [3, 4, 4], rng.choice([" ", "-", "."])))
    if roll < 0.7:
        return rng.choice(["+86 ", "+86-", "+86", "0086 "]) + rng.choice([mobile, in_groups(mobile, [3, 4, 4], " ")])
    if roll < 0.82:
        area = rng.choice(["010", "021", "0755", "0571", "028", "0898"])
        local = rng.choice("2345678") + digits(rng, 7)
        return rng.choice([f"{area}-{local}", f"({area}){local}", f"{area} {local}", f"（{area}）{local}"])
    return rng.choice(
        [
            f"+44 20 7{digits(rng, 3)} {digits(rng, 4)}",
            f"+44 7{digits(rng, 3)} {digits(rng, 6)}",
            f"+1 (212) {rng.choice('23456789')}{digits(rng, 2)}-{digits(rng, 4)}",
            f"({rng.choice('23456')}1{rng.choice('345')}) {rng.choice('23456789')}{digits(rng, 2)}-{digits(rng, 4)}",
            f"{rng.choice('23456')}0{rng.choice('345')}-{rng.choice('23456789')}{digits(rng, 2)}-{digits(rng, 4)}",
            f"+49 30 {digits(rng, 6)}",
            f"+33 6 {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}",
            f"+852 {rng.choice('2569')}{digits(rng, 3)} {digits(rng, 4)}",
            f"+65 9{digits(rng, 3)} {digits(rng, 4)}",
            f"+81-90-{digits(rng, 4)}-{digits(rng, 4)}",
            f"+61 4{digits(rng, 2)} {digits(rng, 3)} {digits(rng, 3)}",
        ]
    )


def email(rng: Rng) -> str:
    name = rng.choice(
        [
            f"{rng.choice(ENGLISH_GIVEN).lower()}.{rng.choice(ENGLISH_SURNAMES).lower().replace(chr(39), '')}",
            f"{rng.choice(ENGLISH_GIVEN).lower()}_{digits(rng, 2)}",
            digits(rng, rng.randrange(6, 11)),
            f"{rng.choice(ENGLISH_GIVEN)}+{rng.choice(['shop', 'news'])}",
        ]
    )
    host = rng.choice(
        ["qq.com", "163.com", "gmail.com", "example.co.uk", "mail.example.org", "foxmail.com", "uni-bonn.de"]
    )
    return rng.choice([f"{name}@{host}"] * 9 + [f"{name}＠{host}"])


def id_card(rng: Rng) -> str:
    born = date(1950, 1, 1) + timedelta(days=rng.randrange(22_000))
    region = rng.choice(["110105", "310101", "440305", "510104", "320583", "650103", "429004", "810000", "620102"])
    first = f"{region}{born:%Y%m%d}{digits(rng, 3)}"
    number = first + id_check(first)
    roll = rng.random()
    if roll < 0.1:
        return in_groups(number, [6, 8], rng.choice(" -"))
    if roll < 0.15:
        return in_groups(number, [6, 4, 4], rng.choice(" -"))
    return disguised(rng, number.lower() if rng.random() < 0.2 else number)


def id_check(first: str) -> str:
    """ISO 7064 MOD 11-2 by its recurrence, apart from the sum in `checks`."""
    remainder = 0
    for digit in first:
        remainder = (remainder + int(digit)) * 2 % 11
    return "0123456789X"[(12 - remainder) % 11]


def with_luhn(first: str) -> str:
    return next(first + check for check in string.digits if luhn(first + check))


def bank_card(rng: Rng) -> str:
    prefix, length = rng.choice(
        [
            ("62", 16),
            ("62", 19),
            ("6222", 19),
            ("62", 17),
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("34", 15),
            ("37", 15),
            ("3530", 16),
            ("6011", 16),
            ("65", 16),
        ]
    )
    number = with_luhn(prefix + digits(rng, length - len(prefix) - 1))
    if rng.random() < 0.6:
        return disguised(rng, number)
    return in_groups(number, [4, 6, 5] if length == 15 else [4, 4, 4, 4], rng.choice([" ", "-"]))


def passport(rng: Rng) -> str:
    head = rng.choice(["E", "G", "D", "S", "P", "EA", "EK", "EJ"])
    return disguised(rng, head + digits(rng, 9 - len(head)))


def social_credit(rng: Rng) -> str:
    region = rng.choice(["110108", "310115", "440300", "330106", "510107", "100000"])
    first = rng.choice(["91", "92", "93", "52", "12", "Y1", "N1"]) + region
    first += "".join(rng.choice(_CREDIT_SIGNS) for _ in range(9))
    code = first + credit_check(first)
    return disguised(rng, code.lower() if rng.random() < 0.1 else code)


def credit_check(first: str) -> str:
    total, weight = 0, 1
    for sign in first:
        total += _CREDIT_SIGNS.index(sign) * weight
        weight = weight * 3 % 31
    return _CREDIT_SIGNS[(31 - total % 31) % 31]


def iban(rng: Rng) -> str:
    country, body = rng.choice(
        [
            ("DE", digits(rng, 18)),
            ("GB", rng.choice(["NWBK", "BARC", "LOYD"]) + digits(rng, 14)),
            ("FR", digits(rng, 23)),
            ("NL", "ABNA" + digits(rng, 10)),
            ("ES", digits(rng, 20)),
            ("CH", digits(rng, 17)),
            ("MT", "MALT" + digits(rng, 5) + "MTLCAST" + digits(rng, 11)),
            ("NO", digits(rng, 11)),
        ]
    )
    number = country + iban_check(country, body) + body
    return rng.choice([number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))])


def iban_check(country: str, body: str) -> str:
    remainder = 0
    for char in body + country + "00":
        for digit in str(int(char, 36)):
            remainder = (remainder * 10 + int(digit)) % 97
    return f"{98 - remainder:02d}"


def us_ssn(rng: Rng) -> str:
    area = rng.choice([*range(1, 666), *range(667, 900)])
    return f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10000):04d}"


def ip(rng: Rng) -> str:
    if rng.random() < 0.7:
        return ".".join(str(rng.randrange(1, 255)) for _ in range(4))
    address = IPv6Address((0x2001 << 112) + rng.getrandbits(rng.choice([40, 112])))
    return rng.choice([str(address), str(address.exploded), str(address).upper()])


def license_plate(rng: Rng) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    head = rng.choice("京沪粤苏浙鲁川渝津鄂湘闽皖冀豫辽吉黑晋陕甘青蒙桂琼云贵藏宁新赣") + rng.choice(letters)
    tail = rng.choice(
        [
            digits(rng, 5),
            rng.choice(letters) + digits(rng, 4),
            digits(rng, 3) + rng.choice(letters) + rng.choice(letters),
            "D" + digits(rng, 5),
            "F" + digits(rng, 5),
            digits(rng, 5) + "D",
        ]
    )
    return head + rng.choice(["", "", "", "·", " ", "-"]) + tail


def person_zh(rng: Rng) -> str:
    return rng.choice(CHINESE_SURNAMES) + "".join(rng.choice(CHINESE_GIVEN) for _ in range(rng.choice([1, 2, 2])))


def person_en(rng: Rng) -> str:
    middle = rng.choice(["", "", "", f" {rng.choice('ABCDEJM')}."])
    return f"{rng.choice(ENGLISH_GIVEN)}{middle} {rng.choice(ENGLISH_SURNAMES)}"


def address_zh(rng: Rng) -> str:
    street = rng.choice(STREETS_ZH)
    inside = rng.choice(
        [
            "",
            "",
            f"{rng.randrange(1, 30)}号楼{rng.randrange(1, 6)}单元{rng.randrange(101, 2900)}室",
            f"{rng.randrange(1, 30)}栋{rng.randrange(101, 2900)}室",
            f"{rng.randrange(1, 30)}弄",
        ]
    )
    return f"{rng.choice(CITIES)}{street}{rng.randrange(1, 2000)}号{inside}"


def address_en(rng: Rng) -> str:
    house = rng.choice([f"{rng.randrange(1, 9999)}", f"{rng.randrange(1, 300)}B"])
    inside = rng.choice(["", "", f", Apt {rng.randrange(1, 99)}", f" Suite {rng.randrange(100, 999)}"])
    city = rng.choice(["", "", ", Springfield, IL 62704", ", Portland, OR 97201"])
    return f"{house} {rng.choice(STREETS_EN)}{inside}{city}"


# By kind and language; None stands for both.
VALUES: dict[tuple[str, str | None], Make] = {
    ("phone", None): phone,
    ("email", None): email,
    ("id_card", None): id_card,
    ("bank_card", None): bank_card,
    ("passport", None): passport,
    ("social_credit", None): social_credit,
    ("iban", None): iban,
    ("us_ssn", None): us_ssn,
    ("ip", None): ip,
    ("license_plate", None): license_plate,
    ("person", "zh"): person_zh,
    ("person", "en"): person_en,
    ("address", "zh"): address_zh,
    ("address", "en"): address_en,
}

CARRIERS: dict[str, Carriers] = {
    "phone": {
        "zh": ["我的手机号是{}", "电话{}，请尽快回电", "有问题打{}找我", "{}这个号码一直打不通", "联系方式：{}谢谢"],
        "en": ["Call me on {} please", "My number is {}.", "Phone: {}", "you can reach me at {} after six", "text {}!"],
    },
    "email": {
        "zh": ["邮箱{}收", "发票发到{}就行", "请联系{}。", "我的邮箱是{}，谢谢"],
        "en": ["Mail me at {}.", "send it to {} please", "<{}>", "my e-mail: {}, thanks"],
    },
    "id_card": {
        "zh": ["身份证{}。", "我的身份证号码是{}，请核对", "证件号:{}", "实名认证用{}提交过了"],
        "en": ["My Chinese ID is {}.", "ID card no. {} was rejected", "identity number {}", "verify {} please"],
    },
    "bank_card": {
        "zh": ["卡号{}转账", "退到银行卡{}上", "我的信用卡{}被扣了两次", "{}这张卡"],
        "en": ["card {} declined", "Refund to {} please", "my credit card {} was charged twice", "card number: {}"],
    },
    "passport": {
        "zh": ["护照号{}", "我的护照是{}，办签证用", "护照号码：{}，请登记", "用护照{}入境"],
        "en": ["passport {}", "My passport number is {}.", "Passport No. {} expires soon", "{} is my passport"],
    },
    "social_credit": {
        "zh": ["统一社会信用代码{}", "税号：{}，开专票", "公司信用代码是{}。", "抬头和税号{}"],
        "en": ["credit code {}", "Our tax number in China is {}.", "USCC: {}", "company {} needs an invoice"],
    },
    "iban": {
        "zh": ["IBAN是{}", "请退到{}这个账户", "欧洲账户{}，谢谢", "汇款账号：{}"],
        "en": ["IBAN {}", "Please pay to {}.", "my account is {}, thanks", "refund {} today"],
    },
    "us_ssn": {
        "zh": ["社会安全号{}", "我的SSN是{}。", "美国税号{}", "社安号：{}，请保密"],
        "en": ["SSN {}", "My social security number is {}.", "ssn: {} do not share", "{} is my social"],
    },
    "ip": {
        "zh": ["服务器IP是{}", "从{}登录失败", "地址{}，端口8080", "{}连不上"],
        "en": ["server {} is down", "login from {} failed", "IP: {}", "ping {} please"],
    },
    "license_plate": {
        "zh": ["车牌{}", "我的车是{}，停在楼下", "送货车{}到了", "车牌号：{}。"],
        "en": ["plate {}", "My car is {}.", "the van {} hit my gate", "registration: {}"],
    },
    "person": {
        "zh": ["我叫{}，想退货", "收件人：{}", "{}先生您好", "联系人{}，请回电", "请找{}女士"],
        "en": ["My name is {}.", "Mr {} called", "I am {} and want a refund", "Recipient: {}", "Dr. {} wrote"],
    },
    "address": {
        "zh": ["寄到{}", "我住在{}，请送货", "地址：{}。", "收货地址是{}谢谢"],
        "en": ["I live at {}.", "Ship to {} please", "address: {}", "deliver it to {}, thanks"],
    },
}


def bad(make: Make, is_bad: Callable[[str], bool]) -> Make:
    """A maker of values that fail the check: one digit of a good one changed."""

    def changed(rng: Rng) -> str:
        while True:
            value = make(rng)
            places = [place for place, char in enumerate(value) if char in string.digits]
            if len(places) < 4:
                continue  # in full width
            place = rng.choice(places[-4:])
            value = value[:place] + str((int(value[place]) + rng.randrange(1, 10)) % 10) + value[place + 1 :]
            if is_bad(value):
                return value

    return changed


def _order(rng: Rng) -> str:
    return f"1{rng.choice('3456789')}{digits(rng, 9)}"


def _stamp(rng: Rng) -> str:
    return f"20{rng.randrange(20, 27)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}{digits(rng, 10)}"


def _isbn(rng: Rng) -> str:
    return rng.choice([f"978-7-{digits(rng, 3)}-{digits(rng, 5)}-{digits(rng, 1)}", f"9787{digits(rng, 9)}"])


def _price(rng: Rng) -> str:
    return rng.choice(
        [f"¥{rng.randrange(1000, 99999)}.{digits(rng, 2)}", f"{rng.randrange(1, 99)},{digits(rng, 3)},{digits(rng, 3)}"]
    )


def _sku(rng: Rng) -> str:
    return rng.choice(string.ascii_uppercase) + rng.choice(string.ascii_uppercase) + digits(rng, rng.randrange(8, 13))


def _version(rng: Rng) -> str:
    return ".".join(str(rng.randrange(0, 30)) for _ in range(4))


# A look-alike: its maker and the sentences (by language) that say what it is.
LookAlike = tuple[Make, Carriers]
_ORDER: Carriers = {
    "zh": ["订单号{}", "单号：{}还没发货", "运单编号{}"],
    "en": ["order {}", "order number {} is late", "invoice no. {}"],
}
_STAMP: Carriers = {"zh": ["流水号{}", "交易号：{}"], "en": ["transaction {}", "reference: {}"]}
_BOOK: Carriers = {"zh": ["ISBN {}", "书号{}"], "en": ["ISBN {}", "the book {}"]}
_PRICE: Carriers = {"zh": ["价格{}", "一共{}"], "en": ["price {}", "paid {} in all"]}
_SKU: Carriers = {"zh": ["货号{}", "型号：{}"], "en": ["SKU {}", "model {}"]}

LOOK_ALIKES: dict[str, list[LookAlike]] = {
    "phone": [
        (_order, _ORDER),
        (_stamp, _STAMP),
        (_isbn, _BOOK),
        (_price, _PRICE),
        (_sku, _SKU),
        (lambda rng: f"400-{digits(rng, 3)}-{digits(rng, 4)}", {"zh": ["热线{}", "客服电话{}"], "en": ["hotline {}"]}),
        (lambda rng: f"17{digits(rng, 11)}", {"zh": ["时间戳{}"], "en": ["timestamp {}"]}),
        (
            lambda rng: f"2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}",
            {"zh": ["日期{}"], "en": ["on {}"]},
        ),
        (lambda rng: f"{rng.randrange(100, 120)}.{digits(rng, 6)}", {"zh": ["经度{}"], "en": ["longitude {}"]}),
    ],
    "email": [
        (lambda rng: f"@{rng.choice(ENGLISH_GIVEN).lower()}", {"zh": ["关注{}"], "en": ["follow {}"]}),
        (lambda rng: f"logo@{rng.randrange(2, 4)}x.png", {"zh": ["图片{}"], "en": ["see {}"]}),
        (lambda rng: f"lodash@{_version(rng)}", {"zh": ["安装{}"], "en": ["npm install {}"]}),
        (lambda rng: f"git@github.com:{rng.choice(ENGLISH_GIVEN)}/app.git", {"zh": ["克隆{}"], "en": ["clone {}"]}),
        (lambda rng: f"{rng.randrange(2, 9)}pcs@{rng.randrange(10, 99)}.5", {"zh": ["报价{}"], "en": ["quote {}"]}),
    ],
    "id_card": [
        (bad(id_card, lambda value: True), {"zh": ["编号{}"], "en": ["number {}"]}),
        (lambda rng: f"{rng.choice(['98', '00', '77'])}{digits(rng, 16)}", {"zh": ["流水{}"], "en": ["serial {}"]}),
        (lambda rng: _stamp(rng), _STAMP),
        (lambda rng: f"110105{rng.randrange(1950, 2000)}13{digits(rng, 6)}", {"zh": ["号码{}"], "en": ["no. {}"]}),
    ],
    "bank_card": [
        (
            bad(lambda rng: with_luhn("62" + digits(rng, 16)), lambda v: not luhn(v)),
            {"zh": ["卡号{}"], "en": ["card {}"]},
        ),
        (lambda rng: with_luhn(rng.choice("01789") + digits(rng, 14)), {"zh": ["编号{}"], "en": ["number {}"]}),
        (lambda rng: with_luhn("62" + digits(rng, 16)), _ORDER),
        (lambda rng: with_luhn("35" + digits(rng, 12)), {"zh": ["IMEI {}"], "en": ["IMEI {}"]}),
        (_stamp, _STAMP),
        (_isbn, _BOOK),
        (lambda rng: with_luhn("24" + f"{rng.randrange(1, 13):02d}" + digits(rng, 11)), {"zh": ["{}"], "en": ["{}"]}),
    ],
    "passport": [
        (lambda rng: f"E{digits(rng, 8)}", _SKU),
        (lambda rng: f"G{digits(rng, 8)}", _ORDER),
        (lambda rng: f"P{digits(rng, 8)}", {"zh": ["零件{}"], "en": ["part {}"]}),
        (lambda rng: f"S{digits(rng, 7)}", {"zh": ["护照夹货号{}"], "en": ["passport cover, SKU {}"]}),
    ],
    "social_credit": [
        (bad(social_credit, lambda value: True), {"zh": ["代码{}"], "en": ["code {}"]}),
        (lambda rng: _stamp(rng)[:18], _STAMP),
        (lambda rng: "91" + "99" + digits(rng, 14), {"zh": ["编号{}"], "en": ["number {}"]}),
    ],
    "iban": [
        (bad(iban, lambda value: True), {"zh": ["账号{}"], "en": ["account {}"]}),
        (lambda rng: f"XX{digits(rng, 20)}", {"zh": ["编号{}"], "en": ["code {}"]}),
        (_sku, _SKU),
    ],
    "us_ssn": [
        (
            lambda rng: f"{rng.choice(['000', '666', '900', '987'])}-{rng.randrange(1, 99):02d}-{digits(rng, 4)}",
            {"zh": ["号{}"], "en": ["id {}"]},
        ),
        (lambda rng: f"{digits(rng, 3)}-00-{digits(rng, 4)}", {"zh": ["号{}"], "en": ["no {}"]}),
        (lambda rng: f"{digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 4)}", _SKU),
        (lambda rng: digits(rng, 9), _ORDER),
        (lambda rng: f"{digits(rng, 3)}-{digits(rng, 4)}-{digits(rng, 2)}", {"zh": ["零件{}"], "en": ["part {}"]}),
    ],
    "ip": [
        (_version, {"zh": ["版本{}", "升级到{}"], "en": ["version {}", "v{}", "Chrome/{}"]}),
        (
            lambda rng: f"{rng.randrange(256, 999)}.{rng.randrange(1, 99)}.{rng.randrange(1, 99)}.1",
            {"zh": ["{}"], "en": ["{}"]},
        ),
        (lambda rng: f"{rng.randrange(10, 24)}:{digits(rng, 1)}5:30", {"zh": ["时间{}"], "en": ["at {}"]}),
        (lambda rng: ":".join(f"{rng.randrange(256):02X}" for _ in range(6)), {"zh": ["MAC {}"], "en": ["MAC {}"]}),
        (lambda rng: f"{_version(rng)}.{rng.randrange(9)}", {"zh": ["编号{}"], "en": ["OID {}"]}),
    ],
    "license_plate": [
        (lambda rng: f"北京{rng.choice('ABC')}{digits(rng, 5)}", {"zh": ["寄{}"], "en": ["box {}"]}),
        (lambda rng: f"全新A{digits(rng, 5)}", {"zh": ["{}上市"], "en": ["{}"]}),
        (lambda rng: f"京A{digits(rng, 7)}", {"zh": ["编号{}"], "en": ["no {}"]}),
        (lambda rng: f"新B{digits(rng, 5)}", {"zh": ["型号{}", "货号：{}"], "en": ["model {}"]}),
    ],
    "person": [
        (
            lambda rng: rng.choice(["高兴", "温馨", "江南", "白天", "马上", "方便"]),
            {"zh": ["今天很{}", "{}的时候"], "en": ["{}"]},
        ),
        (
            lambda rng: rng.choice(["项目经理", "任课老师", "高中老师", "客户经理"]),
            {"zh": ["请联系{}", "{}说可以"], "en": ["{}"]},
        ),
        (
            lambda rng: rng.choice(["Hong Kong", "New York", "Black Friday", "Apple Watch"]),
            {"zh": ["{}"], "en": ["from {}", "this is {}"]},
        ),
        (
            lambda rng: rng.choice(["Sir", "Madam", "Customer", "Support Team"]),
            {"zh": ["{}"], "en": ["Dear {}", "Dear {},\nhello"]},
        ),
    ],
    "address": [
        (lambda rng: f"{rng.randrange(1, 30)}号线", {"zh": ["坐地铁{}", "换乘{}"], "en": ["line {}"]}),
        (lambda rng: f"{rng.randrange(1, 13)}月{rng.randrange(1, 29)}号", {"zh": ["{}到货", "定在{}"], "en": ["{}"]}),
        (
            lambda rng: f"{rng.randrange(2, 99)} {rng.choice(['Good Days', 'Red Roses', 'New Orders'])}",
            {"zh": ["{}"], "en": ["{} left"]},
        ),
        (
            lambda rng: rng.choice(["杭州西湖", "南京路", "长安街", "Oxford Street"]),
            {"zh": ["去{}玩"], "en": ["near {}"]},
        ),
    ],
}

_BEFORE = {
    "zh": ["你好，", "", "", "麻烦看一下：", "昨天下单的。"],
    "en": ["Hello, ", "", "", "Please check: ", "Bought last week. "],
}
_AFTER = {"zh": ["", "，谢谢", "。", "！急", " 好吗"], "en": ["", ", thanks", ".", "! Urgent", " okay?"]}


def positives(kind: str, count: int, seed: int, carriers: dict[str, Carriers]) -> list[Sample]:
    rng = Rng(f"{kind} {seed}")
    samples = []
    for number in range(count):
        language = ("zh", "en")[number % 2]
        make = VALUES.get((kind, None)) or VALUES[kind, language]
        value = make(rng)
        before, after = rng.choice(carriers[kind][language]).split("{}")
        before, after = rng.choice(_BEFORE[language]) + before, after + rng.choice(_AFTER[language])
        samples.append(Sample(before + value + after, len(before), len(before) + len(value)))
    return samples


def look_alikes(kind: str, count: int, seed: int, made: dict[str, list[LookAlike]]) -> list[str]:
    rng = Rng(f"not {kind} {seed}")
    texts = []
    for number in range(count):
        language = ("zh", "en")[number % 2]
        make, carriers = rng.choice(made[kind])
        sentence = rng.choice(carriers[language]).replace("{}", make(rng))
        texts.append(rng.choice(_BEFORE[language]) + sentence + rng.choice(_AFTER[language]))
    return texts
