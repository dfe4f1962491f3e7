"""A bookshop that exists only in these tests: its passages in both languages, and people's questions about it.

The questions are what the thresholds of the honesty policy are calibrated on; none of them comes from the sample
business or its exam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.progress import Silent
from tulou.core.types import PASSAGE, Hit, Passage
from tulou.data.search.index import SearchIndex, build_index, open_index

# topic, language, title, heading, text
_TEXTS = [
    ("delivery", "zh", "配送说明", "配送说明 > 多久送到", "付款后 24 小时内出库。普通快递 3 到 5 天送达，偏远地区 7 到 10 天。遇到暴雨、台风等恶劣天气，送达时间可能延后。"),
    ("delivery", "en", "Delivery", "Delivery > How long it takes", "Orders leave our warehouse within 24 hours of payment. Standard delivery takes 3 to 5 days, remote areas 7 to 10 days. Storms and other bad weather may delay a parcel."),
    ("delivery-fee", "zh", "配送说明", "配送说明 > 运费", "订单满 68 元免运费，不满 68 元收 6 元。港澳台地区按实际重量收费，首重 30 元。"),
    ("delivery-fee", "en", "Delivery", "Delivery > What it costs", "Delivery is free for orders of ¥68 or more; smaller orders cost ¥6. Hong Kong, Macao and Taiwan are charged by weight, from ¥30."),
    ("returns", "zh", "退货政策", "退货政策 > 期限", "自签收之日起 10 天内可以无理由退货，图书需保持全新、未拆塑封。退货运费由买家承担，质量问题由我们承担。"),
    ("returns", "en", "Returns", "Returns > Time limit", "You can return a book within 10 days of delivery, unread and in its original wrapping. You pay for sending it back, unless the book is faulty, in which case we do."),
    ("returns-not", "zh", "退货政策", "退货政策 > 不能退的商品", "电子书、定制签名本和已拆封的音像制品不支持退货。"),
    ("returns-not", "en", "Returns", "Returns > What cannot be returned", "E-books, personally signed copies and opened audio discs cannot be returned."),
    ("refund", "zh", "退款说明", "退款说明 > 到账时间", "我们收到退货后 2 个工作日内退款，款项按原支付方式退回，银行卡需要 3 到 7 天到账。"),
    ("refund", "en", "Refunds", "Refunds > When the money arrives", "We refund you within 2 working days of receiving the return, to the method you paid with. Bank cards take another 3 to 7 days."),
    ("damaged", "zh", "售后服务", "售后服务 > 破损与缺页", "收到的书有破损或缺页，请在 7 天内拍照联系客服，我们免费补寄一本。"),
    ("damaged", "en", "Service", "Service > Damaged books", "If a book arrives damaged or with missing pages, send us a photo within 7 days and we will ship a replacement for free."),
    ("invoice", "zh", "发票", "发票 > 怎么开", "下单时勾选“需要发票”并填写抬头和税号，电子发票在发货后 1 天内发到您的邮箱。订单完成后 90 天内可以补开。"),
    ("invoice", "en", "Invoices", "Invoices > How to get one", "Tick “invoice” at checkout and enter your company name and tax number. The electronic invoice reaches your mailbox within 1 day of dispatch. You can ask for one up to 90 days after the order is completed."),
    ("payment", "zh", "支付方式", "支付方式", "我们支持微信支付、支付宝、银联卡和礼品卡，不支持货到付款。"),
    ("payment", "en", "Payment", "Payment", "We accept WeChat Pay, Alipay, UnionPay cards and gift cards. Cash on delivery is not available."),
    ("membership", "zh", "书友会", "书友会 > 等级与积分", "每消费 1 元积 1 分，100 分抵 1 元。一年内消费满 500 元升为银卡，满 2000 元升为金卡，金卡全场 92 折。"),
    ("membership", "en", "Book club", "Book club > Levels and points", "You collect one point for every yuan; 100 points are worth ¥1. Spend ¥500 in a year for silver and ¥2,000 for gold. Gold members get 8% off everything."),
    ("cancel", "zh", "订单", "订单 > 取消和修改", "出库前可以在“我的订单”里取消订单或修改收货地址；出库后不能修改，只能拒收后退货。"),
    ("cancel", "en", "Orders", "Orders > Cancelling and changing", "Until it leaves the warehouse you can cancel an order or change its address under “My orders”. After that nothing can be changed; please refuse the parcel instead."),
    ("ebook", "zh", "电子书", "电子书 > 阅读", "电子书购买后在 App 的“书架”里下载，一个账号最多绑定 5 台设备。"),
    ("ebook", "en", "E-books", "E-books > Reading", "After buying an e-book, download it from your shelf in the app. One account works on up to 5 devices."),
    ("account", "zh", "账号", "账号 > 忘记密码", "在登录页点“忘记密码”，用注册手机号接收验证码后重新设置密码。"),
    ("account", "en", "Account", "Account > Forgotten password", "Choose “Forgotten password” on the login page; we send a code to your phone and you set a new one."),
    ("gift", "zh", "礼品服务", "礼品服务 > 包装与贺卡", "礼品包装每件 8 元，可以附一张手写贺卡，贺卡内容不超过 50 字。"),
    ("gift", "en", "Gifts", "Gifts > Wrapping and cards", "Gift wrapping costs ¥8 an item and comes with a handwritten card of up to 50 words."),
    ("contact", "zh", "联系我们", "联系我们 > 客服时间", "人工客服每天 9:00 到 21:00 在线，电话 400-016-8899，周末照常。"),
    ("contact", "en", "Contact", "Contact > Opening hours", "Our team is here every day from 9:00 to 21:00, weekends included; call 400-016-8899."),
    ("reader", "zh", "产品目录", "产品目录 > 墨屏阅读器 R6", "名称：墨屏阅读器 R6\n价格：899 元\n屏幕：6 英寸墨水屏\n续航：一次充电可用 4 周\n保修：整机 18 个月"),
    ("reader", "en", "Catalogue", "Catalogue > Inkpage reader R6", "Name: Inkpage reader R6\nPrice: ¥899\nScreen: 6 inch e-ink\nBattery: 4 weeks on one charge\nWarranty: 18 months"),
    ("reader-care", "zh", "墨屏阅读器 R6 使用手册", "墨屏阅读器 R6 使用手册 > 介绍", "墨屏阅读器 R6 重 160 克，单手就能握住。暖光可以调节，夜里看书不刺眼。屏幕破损不在保修范围内。"),
    ("store", "zh", "线下门店", "线下门店 > 地址", "我们在成都和西安各有一家门店，成都店在玉林路 18 号，每天 10:00 到 22:00 营业。"),
    ("secondhand", "en", "Second-hand books", "Second-hand books > Selling to us", "Send us the titles by e-mail and we make an offer within 3 days. We do not buy textbooks or magazines."),
]  # fmt: skip

# question, language, topics whose passage answers it
QUESTIONS = [
    ("请问下单之后几天能收到货？", "zh", {"delivery"}),
    ("快递一般要走多久啊", "zh", {"delivery"}),
    ("偏远地区送货要多长时间", "zh", {"delivery"}),
    ("台风天会影响送货吗？", "zh", {"delivery"}),
    ("买多少钱可以包邮，不够的话邮费多少", "zh", {"delivery-fee"}),
    ("寄到香港运费怎么收", "zh", {"delivery-fee"}),
    ("书不想要了，几天之内可以退？", "zh", {"returns"}),
    ("退货的运费谁来出", "zh", {"returns"}),
    ("拆了塑封还能退货吗", "zh", {"returns", "returns-not"}),
    ("电子书买错了可以退吗", "zh", {"returns-not", "ebook"}),
    ("退款什么时候到银行卡", "zh", {"refund"}),
    ("收到的书缺页了怎么办", "zh", {"damaged"}),
    ("书角压坏了，能换一本吗", "zh", {"damaged"}),
    ("怎么开公司抬头的发票", "zh", {"invoice"}),
    ("发票忘了开还能补吗", "zh", {"invoice"}),
    ("可以货到付款吗", "zh", {"payment"}),
    ("能用支付宝付钱吗", "zh", {"payment"}),
    ("金卡会员打几折", "zh", {"membership"}),
    ("积分怎么抵钱", "zh", {"membership"}),
    ("我想把订单取消掉", "zh", {"cancel"}),
    ("地址填错了怎么改", "zh", {"cancel"}),
    ("电子书能在几台设备上看", "zh", {"ebook"}),
    ("密码忘记了登不上去", "zh", {"account"}),
    ("能帮我包装成礼物再写张卡片吗", "zh", {"gift"}),
    ("人工客服几点上班", "zh", {"contact"}),
    ("R6 阅读器充一次电能用多久", "zh", {"reader"}),
    ("墨屏阅读器多少钱", "zh", {"reader"}),
    ("阅读器屏幕摔碎了保修吗", "zh", {"reader-care", "reader"}),
    ("成都的门店几点关门", "zh", {"store"}),
    ("How many days until my parcel arrives?", "en", {"delivery"}),
    ("Will the storm delay my delivery?", "en", {"delivery"}),
    ("How much do I have to spend to get free shipping?", "en", {"delivery-fee"}),
    ("Can I send back a novel I don't like?", "en", {"returns"}),
    ("Who pays the postage when I return something?", "en", {"returns"}),
    ("Is it possible to return an e-book?", "en", {"returns-not", "ebook"}),
    ("When will I get my money back on my card?", "en", {"refund"}),
    ("My book came with pages missing", "en", {"damaged"}),
    ("How do I get an invoice for my company?", "en", {"invoice"}),
    ("Do you take cash on delivery?", "en", {"payment"}),
    ("Can I pay with Alipay?", "en", {"payment"}),
    ("What discount do gold members have?", "en", {"membership"}),
    ("I need to change the delivery address of my order", "en", {"cancel"}),
    ("On how many devices can I read my e-books?", "en", {"ebook"}),
    ("I can't remember my password", "en", {"account"}),
    ("Could you wrap it as a present?", "en", {"gift"}),
    ("At what time does your team start in the morning?", "en", {"contact"}),
    ("How long does the R6's battery last?", "en", {"reader"}),
    ("What does the Inkpage reader cost?", "en", {"reader"}),
    ("Do you buy used textbooks?", "en", {"secondhand"}),
]

OFF_TOPIC = [
    "今天成都天气怎么样？",
    "明天会下雨吗",
    "帮我写一首关于秋天的诗",
    "给我讲个笑话吧",
    "京东的退货政策是什么？",
    "拼多多怎么申请退款",
    "红烧肉怎么做才好吃",
    "法国的首都是哪里",
    "华为手机电池保修多久",
    "What's the weather like in Chengdu tomorrow?",
    "Will it rain this weekend?",
    "Write me a short poem about the sea.",
    "How do I return a parcel to Amazon?",
    "What is Starbucks' refund policy?",
    "Who won the football match last night?",
    "What is the capital of Australia?",
    "Can you help me with my python homework?",
]


@dataclass(frozen=True)
class Bookshop:
    """The passages in a real index; lexical only, which is what Chinese has anyway."""

    index: SearchIndex

    async def search(self, query: str, k: int) -> list[Hit]:
        return self.index.search(query, None, k)

    def hits(self, query: str, k: int = 8) -> list[Hit]:
        return self.index.search(query, None, k)


def passage(topic: str, language: str) -> Passage:
    return next(each for each in passages() if each.id == f"{topic}.{language}")


def passages() -> list[Passage]:
    return [
        Passage(f"{topic}.{language}", f"doc-{topic}.{language}", "knowledge", f"{topic}.{language}.md", "", title, heading, text, language)
        for topic, language, title, heading, text in _TEXTS
    ]  # fmt: skip


def open_bookshop(folder: Path) -> Bookshop:
    rows = [vars(each) for each in passages()]
    build_index(pa.Table.from_pylist(rows, schema=PASSAGE).to_batches(), _no_vectors, folder, Silent())
    return Bookshop(open_index(folder))


def _no_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.tile(np.array([1.0, 0.0], dtype=np.float32), (len(texts), 1))
