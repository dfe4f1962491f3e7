"""Sentences written after the rules were, to measure recall and precision on; no rule is to be fitted to them."""

from __future__ import annotations

import string

from tests.data.sensitive_samples import (
    Carriers,
    LookAlike,
    Rng,
    bad,
    bank_card,
    digits,
    iban,
    id_card,
    social_credit,
    with_luhn,
)

CARRIERS: dict[str, Carriers] = {
    "phone": {
        "zh": [
            "快递员说联系不上我，我留的是{}啊",
            "{}，这是我老婆的手机，白天打这个",
            "麻烦把预留手机从旧的换成{}",
            "加我微信同号{}",
            "昨天14:30有人用{}给我打电话推销",
            "收货信息：王先生{}上海",
            "请工程师上门前先打{}；没人接就改天",
        ],
        "en": [
            "The courier keeps ringing the wrong number, it should be {} instead",
            "I moved, so my new mobile is {} (old one is dead).",
            "Someone from {} phoned me twice on 3 May",
            "SMS codes go to {} and I no longer own it",
            "Ring my husband, {}, if I do not pick up",
            "WhatsApp {} works best",
        ],
    },
    "email": {
        "zh": [
            "电子发票一直没收到，重发到{}吧",
            "账号绑定的是{}，密码忘了",
            "我用{}注册的",
            "把合同扫描件抄送{}一份",
            "联系{}或者打电话都行",
        ],
        "en": [
            "I signed up as {} but the reset link never came",
            "Please cc {} on the reply",
            "Invoice to:{}",
            "The newsletter still goes to {}; unsubscribe me",
            "my wife ({}) placed the order",
        ],
    },
    "id_card": {
        "zh": [
            "海关要求补录身份信息，{}，李娜",
            "我爸的身份证是{}，能帮他办吗",
            "系统提示{}已被占用",
            "开户人证件{}，有效期到2035年",
            "入住登记填了{}还是通不过",
        ],
        "en": [
            "Customs asked for my Chinese identity number, here it is: {}",
            "I entered {} and the form says invalid",
            "resident ID {} belongs to my father",
            "KYC failed for {} again",
        ],
    },
    "bank_card": {
        "zh": [
            "钱还没到{}，都七天了",
            "尾号不对，完整的是{}",
            "支付时用的{}，有效期12/27",
            "绑卡失败，提示{}不支持",
            "请把差价打到我建行{}",
        ],
        "en": [
            "You charged {} instead of my other one",
            "Paid with {}, expiry 11/28",
            "the number embossed on it reads {} and the site rejects it",
            "Use my new Visa/Mastercard {} from now on",
            "chargeback for {} was opened",
        ],
    },
    "passport": {
        "zh": [
            "订机票时护照填错了，应为{}",
            "旅客护照信息 {} 姓名拼音LI NA",
            "{}（护照）明年到期，需要换吗",
            "签证中心要我的护照，号码{}",
            "酒店前台登记的护照是{}",
        ],
        "en": [
            "The passport on the booking should read {}",
            "I renewed my passport and it is now {}",
            "passport: {}, issued in Shanghai",
            "Travelling on Chinese passport {} in June",
            "{} (passport) was scanned at check-in",
        ],
    },
    "social_credit": {
        "zh": [
            "开票资料：上海某某贸易有限公司，{}",
            "营业执照上的代码是{}对吧",
            "纳税人识别号写{}",
            "供应商{}资质已过期",
            "对公认证填{}总失败",
        ],
        "en": [
            "Our business licence shows {}",
            "unified social credit code {} is on the invoice",
            "The Chinese subsidiary is registered under {}",
            "taxpayer identification {} please",
        ],
    },
    "iban": {
        "zh": [
            "退款请走SEPA，{}",
            "德国供应商的账号{}，请付尾款",
            "填{}提示格式错误",
            "我的欧元户头是{}，别打错了",
        ],
        "en": [
            "Wire the deposit to {} by Friday",
            "Our bank details changed: {}",
            "SEPA transfer from {} bounced",
            "beneficiary {} reference 2024",
            "the site says {} is not valid",
        ],
    },
    "us_ssn": {
        "zh": [
            "报税要填{}，可是页面报错",
            "在美国读书时办的SSN，{}",
            "背景调查需要{}这个号",
            "员工的社会安全号码 {} 录入有误",
        ],
        "en": [
            "The W-9 lists {} for me",
            "HR typed {} and payroll fails",
            "last four do not match {}",
            "My late mother's Social Security: {}",
            "background check for {} is pending",
        ],
    },
    "ip": {
        "zh": [
            "异地登录提醒，来源{}，不是我",
            "把{}加到白名单",
            "网关配成{}之后就断网了",
            "日志里全是{}的请求",
            "打印机固定在{}",
        ],
        "en": [
            "Blocked by the firewall at {}",
            "Please whitelist {} for the API",
            "requests from {} time out",
            "The camera answers on {} only",
            "ssh to {} hangs",
        ],
    },
    "license_plate": {
        "zh": [
            "我的新能源车{}充不了电",
            "违停的是{}，请挪车",
            "预约洗车，{}，周六上午",
            "司机开{}来的，态度很好",
            "ETC绑的还是旧车{}",
        ],
        "en": [
            "The driver of {} was rude",
            "parking permit for {} expired",
            "insure my car {} again",
            "A white van ({}) blocks the gate",
        ],
    },
    "person": {
        "zh": [
            "我叫{}，昨天在你们店买了水壶",
            "收货人{}，其他不变",
            "姓名：{}，电话稍后补",
            "客服{}小姐答应给我补偿",
            "请转告{}经理",
            "联系人是{}",
            "患者{}预约周三",
        ],
        "en": [
            "Good morning, my name is {} and the kettle leaks",
            "Mrs {} from your team promised a refund",
            "Full name: {}",
            "The parcel was signed by {} at noon",
            "Please ask for {} at reception",
            "Kind regards,\n{}",
            "This is {} speaking",
        ],
    },
    "address": {
        "zh": [
            "搬家了，以后请寄{}",
            "我家在{}，能装宽带吗",
            "安装地址：{}，周末有人",
            "师傅跑错了，应该是{}",
            "门店就在{}，欢迎光临",
            "发往{}的包裹丢了",
        ],
        "en": [
            "We have moved to {} last month",
            "The technician went to the wrong house, ours is {}",
            "Delivery address: {}",
            "leave the parcel at {}, back door",
            "Our shop is on {}",
            "Please send the spare part to {}.",
        ],
    },
}

_LETTERS = string.ascii_uppercase


def _eleven(rng: Rng) -> str:
    return f"1{rng.choice('3456789')}{digits(rng, 9)}"


LOOK_ALIKES: dict[str, list[LookAlike]] = {
    "phone": [
        (
            _eleven,
            {
                "zh": ["我的订单编号是{}，退款呢", "发票号码{}打不开"],
                "en": ["My order no. is {}, where is it", "tracking number: {}"],
            },
        ),
        (lambda rng: f"SF{digits(rng, 13)}", {"zh": ["顺丰{}三天没动"], "en": ["parcel {} is stuck"]}),
        (lambda rng: f"JD{digits(rng, 13)}", {"zh": ["查一下{}"], "en": ["look up {}"]}),
        (lambda rng: f"16{digits(rng, 8)}", {"zh": ["日志里的时间戳是{}"], "en": ["epoch {} in the log"]}),
        (lambda rng: f"{rng.randrange(1, 9)}.{digits(rng, 11)}", {"zh": ["汇率{}"], "en": ["ratio {}"]}),
        (lambda rng: f"0{digits(rng, 12)}", {"zh": ["条形码{}扫不出"], "en": ["barcode {} will not scan"]}),
        (
            lambda rng: f"{digits(rng, 4)}-{digits(rng, 4)}-{digits(rng, 4)}-{digits(rng, 4)}",
            {"zh": ["激活码{}无效"], "en": ["licence key {} is invalid"]},
        ),
        (
            lambda rng: f"8{digits(rng, 7)}-{digits(rng, 4)}-4{digits(rng, 3)}-8{digits(rng, 3)}-{digits(rng, 12)}",
            {"zh": ["会话{}"], "en": ["session {}"]},
        ),
        (lambda rng: f"400{digits(rng, 7)}", {"zh": ["你们的客服热线{}打不通"], "en": ["your hotline {} is busy"]}),
        (
            lambda rng: f"1-8{rng.choice(['00', '88', '77'])}-{digits(rng, 3)}-{digits(rng, 4)}",
            {"zh": ["美国免费电话{}"], "en": ["toll-free {}"]},
        ),
        (
            lambda rng: f"2025{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}",
            {"zh": ["生产日期{}"], "en": ["made on {}"]},
        ),
        (lambda rng: f"{rng.randrange(2000, 2020)}-{rng.randrange(2020, 2030)}", {"zh": ["{}年"], "en": ["in {}"]}),
        (
            lambda rng: f"{rng.randrange(100, 999)},{digits(rng, 3)},{digits(rng, 3)}",
            {"zh": ["播放量{}次"], "en": ["{} views"]},
        ),
    ],
    "email": [
        (
            lambda rng: f"@{rng.choice(['xiaomi', 'apple', 'nasa'])}_{digits(rng, 2)}",
            {"zh": ["微博{}说的"], "en": ["{} tweeted"]},
        ),
        (lambda rng: f"banner@{rng.randrange(1, 4)}x.jpg", {"zh": ["首页{}糊了"], "en": ["replace {}"]}),
        (lambda rng: f"react@18.{digits(rng, 1)}.{digits(rng, 1)}", {"zh": ["依赖{}冲突"], "en": ["pin {}"]}),
        (lambda rng: f"root@web{digits(rng, 2)}", {"zh": ["终端显示{}"], "en": ["prompt says {}"]}),
        (lambda rng: f"{rng.randrange(2, 9)} @ {rng.randrange(10, 99)}.50", {"zh": ["数量{}"], "en": ["{} each"]}),
        (lambda rng: "git@gitlab.com:team/repo.git", {"zh": ["仓库{}"], "en": ["push to {}"]}),
    ],
    "id_card": [
        (bad(id_card, lambda value: True), {"zh": ["身份证填的{}，提示有误"], "en": ["the ID {} is refused"]}),
        (lambda rng: f"{rng.randrange(2015, 2027)}{digits(rng, 14)}", {"zh": ["支付宝交易{}"], "en": ["payment {}"]}),
        (lambda rng: f"{digits(rng, 19)}", {"zh": ["微信支付单{}"], "en": ["id={}"]}),
        (
            lambda rng: f"{rng.choice(['18', '27', '39', '47', '58', '69', '73', '88'])}{digits(rng, 16)}",
            {"zh": ["设备号{}"], "en": ["unit {}"]},
        ),
    ],
    "bank_card": [
        (
            bad(bank_card, lambda value: len(value) > 14),
            {"zh": ["银行卡{}不存在"], "en": ["your card {} looks mistyped"]},
        ),
        (lambda rng: with_luhn("62" + digits(rng, 14)), {"zh": ["物流单号{}"], "en": ["tracking no. {}"]}),
        (lambda rng: f"20{digits(rng, 14)}", {"zh": ["支付流水{}"], "en": ["payment id {}"]}),
        (lambda rng: with_luhn("86" + digits(rng, 12)), {"zh": ["手机串号{}"], "en": ["IMEI: {}"]}),
        (
            lambda rng: f"9400 1{digits(rng, 3)} {digits(rng, 4)} {digits(rng, 4)} {digits(rng, 4)} {digits(rng, 2)}",
            {"zh": ["美国邮政{}"], "en": ["USPS {}"]},
        ),
        (lambda rng: f"69{digits(rng, 11)}", {"zh": ["商品条码{}"], "en": ["EAN {}"]}),
        (lambda rng: digits(rng, 20), {"zh": ["券码{}"], "en": ["voucher {}"]}),
        (lambda rng: f"{digits(rng, 4)}-{digits(rng, 4)}-{digits(rng, 4)}", {"zh": ["兑换码{}"], "en": ["coupon {}"]}),
    ],
    "passport": [
        (lambda rng: f"E{digits(rng, 8)}", {"zh": ["故障码{}", "水壶型号{}"], "en": ["error {}", "kettle model {}"]}),
        (lambda rng: f"G{digits(rng, 8)}", {"zh": ["高铁订单{}"], "en": ["booking {}"]}),
        (lambda rng: f"{rng.choice('DSP')}{digits(rng, 8)}", {"zh": ["仓位{}"], "en": ["shelf {}"]}),
        (lambda rng: f"E{digits(rng, 10)}", {"zh": ["护照套条码{}"], "en": ["passport holder, barcode {}"]}),
    ],
    "social_credit": [
        (bad(social_credit, lambda value: True), {"zh": ["税号{}查无此企业"], "en": ["tax id {} is unknown"]}),
        (lambda rng: f"{digits(rng, 18)}", {"zh": ["批号{}"], "en": ["lot {}"]}),
        (lambda rng: "".join(rng.choice(_LETTERS) for _ in range(18)), {"zh": ["邀请码{}"], "en": ["invite {}"]}),
        (lambda rng: f"9{rng.choice(_LETTERS)}{digits(rng, 16)}", {"zh": ["芯片{}"], "en": ["chip {}"]}),
    ],
    "iban": [
        (bad(iban, lambda value: True), {"zh": ["填了{}不对"], "en": ["{} was mistyped"]}),
        (lambda rng: f"DE{digits(rng, 9)}", {"zh": ["欧盟税号{}"], "en": ["VAT {}"]}),
        (lambda rng: f"{rng.choice(['QX', 'ZZ', 'WW'])}{digits(rng, 18)}", {"zh": ["会员{}"], "en": ["member {}"]}),
        (lambda rng: f"GB{digits(rng, 20)}", {"zh": ["国标{}"], "en": ["tag {}"]}),
    ],
    "us_ssn": [
        (
            lambda rng: f"9{digits(rng, 2)}-{rng.randrange(1, 99):02d}-{digits(rng, 4)}",
            {"zh": ["ITIN {}"], "en": ["ITIN {}"]},
        ),
        (lambda rng: f"{digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 5)}", {"zh": ["配件{}"], "en": ["spare {}"]}),
        (lambda rng: f"{digits(rng, 2)}-{digits(rng, 7)}", {"zh": ["雇主号{}"], "en": ["EIN {}"]}),
        (lambda rng: digits(rng, 9), {"zh": ["会员编号{}", "QQ群{}"], "en": ["customer {}", "ABA routing {}"]}),
        (
            lambda rng: f"{digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 4)}-{digits(rng, 1)}",
            {"zh": ["书号{}"], "en": ["catalogue {}"]},
        ),
        (
            lambda rng: f"{digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 4)}",
            {"zh": ["物料编码{}"], "en": ["part number {}"]},
        ),
    ],
    "ip": [
        (
            lambda rng: f"{rng.randrange(1, 20)}.{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(99)}",
            {"zh": ["固件版本号为{}", "驱动升级到{}后蓝屏"], "en": ["firmware {} bricked it", "Version: {}"]},
        ),
        (
            lambda rng: f"{rng.randrange(300, 999)}.{rng.randrange(300, 999)}.{digits(rng, 1)}.{digits(rng, 1)}",
            {"zh": ["坐标{}"], "en": ["grid {}"]},
        ),
        (
            lambda rng: f"{rng.randrange(1, 28)}.{rng.randrange(1, 13)}.20{rng.randrange(20, 30)}",
            {"zh": ["截止{}"], "en": ["due {}"]},
        ),
        (
            lambda rng: (
                f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}:{rng.randrange(25):02d}"
            ),
            {"zh": ["时间码{}"], "en": ["timecode {}"]},
        ),
        (lambda rng: f"std::vec{digits(rng, 3)}::push", {"zh": ["函数{}"], "en": ["call {}"]}),
        (lambda rng: "-".join(f"{rng.randrange(256):02x}" for _ in range(6)), {"zh": ["网卡{}"], "en": ["NIC {}"]}),
    ],
    "license_plate": [
        (lambda rng: f"南京D{digits(rng, 4)}次", {"zh": ["坐{}"], "en": ["train {}"]}),
        (lambda rng: f"最新B{digits(rng, 5)}", {"zh": ["{}固件"], "en": ["{}"]}),
        (lambda rng: f"沪ICP备{digits(rng, 8)}号", {"zh": ["网站{}"], "en": ["site {}"]}),
        (lambda rng: f"粤食药监械{digits(rng, 6)}", {"zh": ["批文{}"], "en": ["permit {}"]}),
        (lambda rng: f"云南A{rng.randrange(1, 9)}区{digits(rng, 3)}", {"zh": ["库位{}"], "en": ["bin {}"]}),
        (lambda rng: f"苏A{digits(rng, 8)}", {"zh": ["合同{}"], "en": ["contract {}"]}),
    ],
    "person": [
        (
            lambda rng: rng.choice(["江苏", "黄金", "高端", "金融", "全新", "白色", "安静"]),
            {"zh": ["我要{}款的", "客服说{}版没货"], "en": ["{} edition"]},
        ),
        (
            lambda rng: rng.choice(["班主任", "大堂经理", "语文老师", "值班医生", "主治医生", "售后经理"]),
            {"zh": ["找{}处理的", "{}不在"], "en": ["{}"]},
        ),
        (
            lambda rng: rng.choice(["San Francisco", "Prime Day", "Galaxy Buds", "Customer Care", "Happy Easter"]),
            {"zh": ["{}活动"], "en": ["shipped to {}", "Thanks {}", "contact {} first"]},
        ),
        (
            lambda rng: rng.choice(["收件人", "联系人", "姓名"]),
            {"zh": ["请修改{}信息", "{}写错了怎么办", "{}栏为空"], "en": ["field {}"]},
        ),
        (
            lambda rng: rng.choice(["name", "recipient", "contact"]),
            {"zh": ["字段{}"], "en": ["the {} Field Is Required", "My {} was wrong"]},
        ),
    ],
    "address": [
        (lambda rng: f"{rng.randrange(1, 20)}路公交", {"zh": ["坐{}到", "{}停运"], "en": ["bus {}"]}),
        (
            lambda rng: f"{rng.randrange(1, 13)}月{rng.randrange(1, 29)}号下午",
            {"zh": ["预约{}", "改到{}"], "en": ["{}"]},
        ),
        (
            lambda rng: f"{rng.randrange(2, 40)} Day Return",
            {"zh": ["{}政策"], "en": ["the {} policy", "{} Way too short"]},
        ),
        (
            lambda rng: rng.choice(["王府井大街", "外滩", "Wall Street", "Abbey Road"]),
            {"zh": ["在{}逛街"], "en": ["a shop on {}"]},
        ),
        (
            lambda rng: f"{rng.choice(_LETTERS)}{rng.randrange(1, 9)}号插座",
            {"zh": ["坏的是{}", "{}没电"], "en": ["socket {}"]},
        ),
    ],
}


# A second look, after what the first one had shown was mended.
_LATER: dict[str, Carriers] = {
    "phone": {
        "zh": [
            "家里座机坏了，暂时用{}联系",
            "{}收不到验证码怎么办？",
            "门卫代收，他的号{}",
            "帮我查下{}名下的会员积分",
            "改绑{}后登录不了",
        ],
        "en": [
            "the number on file, {}, is no longer mine",
            "if the gate is shut dial {}",
            "Emergency contact {} (my sister)",
            "texts to {} bounce",
            "Our office line is {}",
        ],
    },
    "passport": {
        "zh": ["乘机人换护照了，新的是{}", "{}是我太太的护照号", "护照有效期没问题，编号{}", "请核对护照{}与订单姓名"],
        "en": [
            "Boarding denied: passport {} did not match",
            "My daughter's passport ({}) is new",
            "the consulate wrote {} into my passport",
            "Use passport {} for check-in",
        ],
    },
    "person": {
        "zh": [
            "下单时名字写错了，姓名是{}",
            "麻烦{}老师回个电话",
            "感谢{}女士的耐心",
            "我叫{}。",
            "乘客{}改签",
            "负责人：{}",
        ],
        "en": [
            "Ms {} handled my case",
            "booked by {} for two nights",
            "Name: {}",
            "I'm {}, a new customer",
            "Attn: {}",
            "Best wishes, {}",
        ],
    },
    "address": {
        "zh": ["新地址：{}", "货到{}后没人签收", "我公司在{}三楼前台代收", "能不能改送{}呢", "上门取件请到{}"],
        "en": [
            "pick it up from {} tomorrow",
            "Billing address is {}",
            "my neighbour at {} took it in",
            "I no longer live at {}.",
            "Send a plumber to {}!",
        ],
    },
    "bank_card": {
        "zh": ["{}被吞了", "扣款卡是{}，不是另一张", "每月从{}自动还款", "新办的信用卡{}激活不了"],
        "en": [
            "autopay uses {}",
            "{} was stolen yesterday",
            "replace the saved card with {}",
            "two charges on {} today",
        ],
    },
    "ip": {
        "zh": ["路由器后台{}打不开", "封禁{}", "API请求从{}发出"],
        "en": ["DNS is {}", "traceroute to {} stops", "Host {} unreachable"],
    },
}
_LATER_LOOK_ALIKES: dict[str, list[LookAlike]] = {
    "phone": [
        (
            lambda rng: f"1{rng.choice('3456789')}{digits(rng, 9)}",
            {
                "zh": ["工单编号{}处理到哪了", "批号{}召回吗", "序列号：{}"],
                "en": ["serial number {}", "case id {}", "Invoice #{}"],
            },
        ),
        (
            lambda rng: f"{digits(rng, 3)}.{digits(rng, 3)}.{digits(rng, 3)},{digits(rng, 2)}",
            {"zh": ["金额{}"], "en": ["EUR {}"]},
        ),
        (
            lambda rng: f"{rng.randrange(10, 24)}:{digits(rng, 1)}0-{rng.randrange(10, 24)}:{digits(rng, 1)}0",
            {"zh": ["营业{}"], "en": ["open {}"]},
        ),
        (lambda rng: f"GB/T {digits(rng, 5)}-20{digits(rng, 2)}", {"zh": ["标准{}"], "en": ["standard {}"]}),
        (lambda rng: f"955{digits(rng, 2)}", {"zh": ["拨打{}挂失"], "en": ["call {} to block it"]}),
        (lambda rng: f"{digits(rng, 12)}", {"zh": ["申通{}"], "en": ["UPS {}"]}),
        (lambda rng: f"#{digits(rng, 6)}-{digits(rng, 4)}", {"zh": ["色号{}"], "en": ["thread {}"]}),
    ],
    "passport": [
        (
            lambda rng: f"E{digits(rng, 8)}",
            {"zh": ["护照夹的订单{}", "报错{}"], "en": ["passport case order {}", "error {}"]},
        ),
        (lambda rng: f"H{digits(rng, 8)}", {"zh": ["座位{}"], "en": ["locker {}"]}),
    ],
    "person": [
        (
            lambda rng: rng.choice(["数学老师", "产品经理", "银行经理", "值班经理", "家庭医生", "健身教练"]),
            {"zh": ["问了{}", "{}说不行"], "en": ["{}"]},
        ),
        (
            lambda rng: rng.choice(["客户服务", "会员等级", "用户协议", "客户经理"]),
            {"zh": ["{}在哪看", "我的{}"], "en": ["{}"]},
        ),
        (
            lambda rng: rng.choice(["South Korea", "Cyber Monday", "Los Angeles", "Dell Laptop"]),
            {"zh": ["{}"], "en": ["from {}", "this is {} stock", "shipped to {}"]},
        ),
    ],
    "address": [
        (lambda rng: f"{rng.randrange(1, 30)}号前", {"zh": ["{}能到吗", "{}付款"], "en": ["by {}"]}),
        (lambda rng: f"{rng.randrange(1, 9)}楼{rng.choice(['餐厅', '前台'])}", {"zh": ["在{}等"], "en": ["{}"]}),
        (lambda rng: f"{rng.randrange(2, 90)} Minute Drive", {"zh": ["{}"], "en": ["a {} away"]}),
        (lambda rng: f"{rng.randrange(1, 20)}号店员", {"zh": ["{}态度差"], "en": ["clerk {}"]}),
        (lambda rng: f"第{rng.randrange(1, 20)}组{rng.randrange(1, 9)}号", {"zh": ["{}选手"], "en": ["{}"]}),
    ],
    "bank_card": [
        (lambda rng: digits(rng, 16), {"zh": ["快递{}"], "en": ["parcel {}"]}),
        (lambda rng: digits(rng, 15), {"zh": ["编码{}"], "en": ["code {}"]}),
    ],
    "ip": [
        (
            lambda rng: ".".join(str(rng.randrange(20)) for _ in range(4)),
            {"zh": ["系统版本是{}", "已是最新版{}"], "en": ["running v{}", "release {}"]},
        )
    ],
}

for _kind, _carriers in _LATER.items():
    CARRIERS[_kind] = {language: CARRIERS[_kind][language] + sentences for language, sentences in _carriers.items()}
for _kind, _made in _LATER_LOOK_ALIKES.items():
    LOOK_ALIKES[_kind] = LOOK_ALIKES[_kind] + _made
