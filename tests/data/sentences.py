"""Sentences made from templates by seeded code: one half of the templates to tune rules on, the other to test them.

No template and no filling stands in both halves.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

TUNING_ZH = (
    [
        "我的{thing}什么时候发货？",
        "请问{thing}保修多久，{when}买的能换吗？",
        "{when}下单的{thing}到现在还没有收到，请帮我查一下。",
        "你们的{thing}太差了，{complaint}，我要退款！",
        "订单号{code}，{thing}少发了一件。",
        "“{thing}”和“{other}”有什么区别？",
        "用了{n}天，{thing}{complaint}——怎么处理？",
        "客服你好，{thing}的发票抬头写错了，能重开吗？",
        "{thing}￥{n}，满{n}减10，可以叠加优惠券吗？",
        "保修条款：{thing}自购买之日起{n}个月内免费维修。",
        "怎样把{thing}连接到手机App（版本{n}）？",
        "快递员把{thing}放在门口，结果丢了……",
        "1、检查电源；2、重启{thing}；3、联系客服。",
        "{thing}很好用👍，推荐给大家！",
        "好评！{thing}做工精细，{when}就到了",
    ],
    {
        "thing": ["蓝牙耳机", "电水壶", "充电器", "扫地机器人", "智能手表", "路由器", "台灯", "机械键盘"],
        "other": ["标准版", "旗舰版", "青春版", "联名款"],
        "when": ["昨天", "上周三", "双十一", "前几天", "三月五号"],
        "complaint": ["有杂音", "充不进电", "开不了机", "漏水", "连不上网络"],
    },
)
HELD_OUT_ZH = (
    [
        "会员积分怎么兑换{gift}？",
        "您好，我想取消{service}，月底之前能办完吗？",
        "登录{service}时提示密码错误，试了{n}次都不行",
        "你们周末营业吗？我想带孩子去{place}看看。",
        "门店地址：{place}中山路{n}号，电话请见官网。",
        "员工手册规定：{policy}。",
        "{policy}，如有疑问请联系人力资源部门。",
        "{gift}颜色和图片不一样，包装也破了，差评！",
        "请把收货地址改成{place}，谢谢～",
        "“{service}”到期以后会自动续费吗？",
        "为什么{service}扣了我两次钱？单号 {code}",
        "报销流程：填写申请单——部门经理审批——财务打款；周期约{n}个工作日。",
        "《{service}使用协议》第{n}条：用户应当妥善保管账号。",
        "急！！！明天要去{place}出差，{gift}今天能送到吗",
        "已经和{place}的同事确认过了，{policy}",
        "退货地址发我一下，{gift}我不要了😡",
    ],
    {
        "gift": ["保温杯", "购物卡", "雨伞", "背包", "空气净化器", "咖啡机", "儿童绘本", "瑜伽垫"],
        "service": ["年度会员", "云存储套餐", "企业邮箱", "在线课程", "上门安装", "视频会议"],
        "place": ["上海", "杭州西湖区", "成都", "深圳南山", "北京朝阳", "广州天河"],
        "policy": [
            "年假须提前一周申请",
            "加班需经主管批准",
            "差旅费用凭票据实报实销",
            "试用期为三个月",
            "迟到三次扣发当月全勤奖",
        ],
    },
)
TUNING_EN = (
    [
        "Where’s my {thing}? I ordered it on the {n}th.",
        "The {thing} costs €{n} — isn’t that too much?",
        "“{thing}” doesn’t work with my phone…",
        "Naïve question: can I wash the {thing} at {n} °C?",
        "Please cancel order {code} – I’ve changed my mind.",
        "The café crème machine (½ price) and the {thing} are £{n} each.",
        "{thing}™ is a registered trademark of Yunque® © 2024",
        "Great {thing} 👍 would buy again",
        "I can’t log in to the portal; it’s the {n}rd time this week.",
        "Señor Müller’s {thing} arrived broken…",
        "A refund of £{n}.50 hasn’t reached my account (ref. {code})",
        "The {thing} is 30×40 cm, ±2 mm, and weighs about {n} g.",
        "Does it include décor, crêpes and jalapeños?",
        "‘{thing}’ – colour: black • size: XL",
        "I love this {thing} 😍 it’s perfect",
        "Our Zürich office opens at {n}:00 — don’t be late",
        "It’s {n} °F outside – bring the {thing}!",
        "The {thing}’s price fell to €{n} ± 2 %",
        "Jürgen’s fiancée ordered {n} × {thing}",
    ],
    {"thing": ["headset", "kettle", "charger", "smart watch", "router", "desk lamp", "keyboard"]},
)
HELD_OUT_EN = (
    [
        "The plumber’s coming at {n} o’clock; please don’t leave",
        "My landlady, Mrs. Núñez, wants the {x} back…",
        "“{x}” sells for £{n} in Zürich — that’s absurd",
        "Crème brûlée for {n}, s’il vous plaît: café Élan",
        "Cut the board to {n} × 60 mm ± 1 mm",
        "Set the oven to 180 °C for the {x}",
        "You’re right: ‘{x}’ isn’t spelt with an é",
        "Ordered {n} • delivered 0 • who’s to blame?",
        "Happy birthday 🎂 hope you like the {x}",
        "Jörg’s {x}™ – only €{n}!",
    ],
    {"x": ["armchair", "violin", "wardrobe", "blanket", "carpet", "candle", "mirror", "hammock"]},
)


def sentences(half: tuple[list[str], Mapping[str, list[str]]], count: int, seed: int = 7) -> list[str]:
    templates, fillings = half
    rng = random.Random(seed)

    def filled(slot: re.Match[str]) -> str:
        if slot[1] == "n":
            return str(rng.randint(2, 48))
        return f"YQ{rng.randint(10**7, 10**8)}" if slot[1] == "code" else rng.choice(fillings[slot[1]])

    return [re.sub(r"\{(\w+)\}", filled, templates[number % len(templates)]) for number in range(count)]
