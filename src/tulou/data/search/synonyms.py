"""Words that customers use for one another, in both languages: each group is folded to its first member.

Applied to passages and questions alike, so "postage" finds "shipping fee" without any model. It matters most in
Chinese, which the default encoder hardly reads. The words are those of service and trade in general, not of one
business; a group belongs here only if taking one for the other is never wrong enough to hurt.
"""

from __future__ import annotations

import re

# Phrases, replaced before segmentation; the longest that fits wins.
_CHINESE = """
多久 多长时间 多少天 几天 几日 多少小时 几个小时 几小时 几个工作日 什么时候 啥时候 何时 几时 哪天 多少个工作日 多快
运费 邮费 快递费 邮寄费 配送费 物流费 送货费 寄费
包邮 免邮 免运费 免快递费 不收运费
退款 退钱 返款 钱退 退的钱 把钱退 拿回钱 退还货款 钱还没退 钱没退
退货 退掉 退回去 寄回去 退了 不想要了 不要了 无理由退
换货 换大 换小 大一码 小一码 大一号 小一号 换一个 换一件 换个 换成 调换 更换
坏 坏了 坏掉 故障 出毛病 毛病 出问题 失灵 不工作 没反应 开不了机 质量问题
摔坏 摔了 摔落 跌落 摔碎
破损 压坏 碎了 破了 损坏 压扁 磕坏 烂了
保修 质保 保固 售后维修 包修 三包
维修 修理 送修 返修 修一下 修好
发票 开票 票据 税票
抬头 公司名称 发票抬头
快递 物流 包裹 邮包 快件 包果
发货 出货 寄出 出库 发出 寄货
到货 送到 收到 送达 能到 到达 寄到
签收 收货
查询 查看 查一下 在哪里看 在哪看 跟踪 追踪
地址 收货地址 收件地址 住址
修改 更改 变更 改成 改一下
取消 撤销 不买了 撤单
付款 支付 付钱 结账 买单 缴费
信用卡 刷卡
分期 分期付款 分期支付
优惠券 优惠卷 折扣券 代金券 红包 抵用券
优惠 打折 折扣 便宜 减价 活动价 促销
降价 跌价 价格保护 保价 补差价 差价 退差价
会员 会员卡 等级 vip
积分 点数 分数
生日 生日礼 寿星
礼品卡 礼物卡 购物卡 储值卡
密码 口令
注销 销户 删除账号 删除账户 注销账户
登录 登陆 登不上 登不进
账号 账户 帐号 帐户
客服 人工 人工客服 在线客服 服务热线 热线 客服电话
电话 电话号码 手机号 手机号码 号码
投诉 举报 意见 不满意
价格 价钱 多少钱 售价 卖多少 什么价 几块钱 多少元 单价
重量 多重 几斤 多少斤 多少公斤 份量
尺寸 大小 多大 规格 尺码
颜色 什么色
容量 多少升 多少毫升 装多少
续航 电池 用多久 电量 待机
充电 充满
防水 进水 泡水 淋雨
丢失 丢了 弄丢 丢件 遗失 不见了 没收到
少发 漏发 少了 缺件 少件 没有配件
错发 发错 寄错 不对版 发错货
港澳台 香港 澳门 台湾
海外 国外 外国 境外 国际 美国 英国 法国 德国 意大利 西班牙 日本 韩国 新加坡 马来西亚 泰国 越南 印度 加拿大 澳大利亚 澳洲 新西兰 东京 大阪 首尔 伦敦 巴黎 柏林 纽约 洛杉矶 悉尼 墨尔本 多伦多 温哥华 吉隆坡 曼谷
偏远 偏远地区 新疆 西藏 青海 内蒙古 乌鲁木齐 拉萨 西宁 呼和浩特
关税 进口税 海关 清关 报关
假期 放假 节假日 长假 休息 过节 上班
营业时间 营业 几点开门 几点关门 开门 关门 几点 上班时间 下班 服务时间 工作时间
门店 实体店 店铺 线下店
自提 自取 到店取
上门 登门 到家
批发 团购 大批 企业采购 公司采购 大量采购 批量
安装 装上 组装
清洁 清洗 打理
配件 零件 耗材 备件
缺货 没货 断货 补货 有货 库存 现货
预售 预订 预定 订金 定金
隐私 个人信息 个人资料
"""  # noqa: E501 -- a group is a line

# Single words; phrases are left to the encoder.
ENGLISH = """
warranty guarantee guaranty guaranteed
shipping delivery deliver shipment ship postage freight dispatch
refund reimburse reimbursement
return returned
exchange swap replace replacement
cancel cancellation revoke
parcel package
damaged crushed broken smashed cracked dented
repair fix mend
faulty defective malfunction
lost missing disappear vanish
invoice receipt bill
payment pay paying paid
price cost charge expensive
weight heavy weigh
colour color
size dimension
discount rebate
coupon voucher
membership member loyalty tier
points point
holiday vacation
abroad overseas international foreign usa america britain england uk france germany italy spain japan korea singapore malaysia thailand canada australia tokyo seoul london paris berlin sydney toronto
customs duty duties tariff
store shop
cheap cheaper cheapest
buy purchase bought
order ordering
courier carrier
address addresses
privacy personal
delete erase close
password passcode
account login
battery batteries
instalment installment monthly
deposit preorder prepay
engrave engraving emblem logo
"""  # noqa: E501 -- a group is a line


_MONEY_BACK = re.compile(r"钱([^，。？！\n]{0,6}?)(?:退|返)(?:回来|给我|还|到)?")  # 钱什么时候能退回来


def _chinese_folding() -> tuple[re.Pattern[str], dict[str, str]]:
    canonical: dict[str, str] = {}
    for line in _CHINESE.strip().splitlines():
        first, *others = line.split()
        canonical.update(dict.fromkeys(others, first))
    phrases = sorted(canonical, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, phrases))), canonical


_CHINESE_PHRASES, _CHINESE_CANONICAL = _chinese_folding()


def fold_chinese(text: str) -> str:
    """`text` with each known phrase replaced by its group's first, set apart so that segmentation keeps it whole."""
    text = _MONEY_BACK.sub(r"退款\1", text)
    return _CHINESE_PHRASES.sub(lambda phrase: f" {_CHINESE_CANONICAL[phrase[0]]} ", text)
