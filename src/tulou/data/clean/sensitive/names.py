"""The dictionaries behind the recognition of people's names: what begins one, what ends one, and what only looks so."""

from __future__ import annotations


def _words(block: str) -> frozenset[str]:
    return frozenset(block.split())


# By frequency (Ministry of Public Security, 2020), less those that are common words first of all: 和 时 从 ...
SURNAMES = """
王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭
陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫雷龙黎史陶贺毛郝顾龚邵覃武钱戴严莫孔向常汤温康施文牛樊葛邢安齐易乔伍
庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍
华喻祁蒲房滕屈饶解牟艾尤阳穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师
仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝
""".replace("\n", "")
COMPOUND_SURNAMES = (
    "欧阳|上官|司马|诸葛|司徒|东方|独孤|南宫|夏侯|皇甫|尉迟|公孙|慕容|令狐|长孙|宇文|端木|百里|"
    "呼延|轩辕|澹台|闻人|赫连|太史"
)
# Not part of a Chinese given name, so the name has ended before it.
ENDS_NAME = frozenset(
    """
的是想要在说来和与跟及或女老师电手地住我你他她它您们已把给买下请求问退订收到有没不很就也都昨今前从因为对被
将会能可该应让叫打寄发付交换还身号这那哪个位了着过吗呢吧啊呀吃喝去走看听做用上里外后者，。、；

""".replace("\n", "")
)
# Words that begin with a surname and stand before a title or behind a cue.
NO_CHINESE_NAME = _words("""
关于 由于 对于 高中 高级 高端 高等 方便 方案 时候 安全 全部 全体 全职 全国 全新 金额 马上 项目
任何 任课 单位 单身 成年 成功 成都 明天 明确 明白 应该 应当 包裹 包括 常见 常用 商品 商家 商务
商场 解决 解释 管理 连接 连锁 温馨 文件 文化 文科 安装 安排 华为 华人 路过 路上 车辆 车间 查询
查看 房屋 房产 房东 程序 章程 党员 全员 江苏 江南 江西 古代 古典 阳光 经理 师范 白天 白酒 黄金
黄色 广州 石油 钱包 金融 金牌 龙头 温州 武汉 常州 宁波 安徽 司机 司法 边上 卫生 应急 荣誉 桂林
查收 农业 明细 古筝 成人 单号 单独 左右 左边 向导 向您 包邮 包装 简单 简介 简历 余额 易拉 顾客
顾问 任务 费用 景区 景点 冷静 高兴 康复 施工 毕业 宫颈 房主 车主 游客 计算 陆续 曾经 文员 武术
谷歌 连续 全家
""")
# Words that end in a surname and stand before a title: 语文老师, 基金经理.
ENDS_IN_SURNAME = _words("""
语文 中文 英文 作文 论文 人文 天文 外文 地方 官方 双方 对方 警方 校方 院方 甲方 乙方 我方 各方 公安 保安 治安
国安 基金 资金 奖金 现金 黄金 佣金 最高 提高 升高 日常 正常 经常 工程 流程 课程 编程 行程 历史 中华 完成 合成
道路 线路 汽车 货车 停车 订单 清单 账单 电商 厂商 客商 经商 住房 租房 安全 完全 保全 主管 城管 保管 收费 计费
会计 设计 统计 审计 施工 平方 责任 主任 现任 前任 关于 由于 对于 终于 大于 方向 定向 定项 事项 专项 体温 高温
科学 美术 包装 外包 承包 面包 简单 时光 岩石 宝石 冷冻 法国 食品 配件 水管 血管 接管 托管 保温 网易 贸易 交易
音乐 娱乐 健康 附近 白天 阴阳 太阳 沈阳 贵阳 医药 小学 中学 大学 毛皮
""")
GIVEN_NAMES = _words("""
James John Robert Michael William David Richard Joseph Thomas Charles Christopher Daniel Matthew Anthony Mark Donald
Steven Paul Andrew Joshua Kenneth Kevin Brian George Timothy Ronald Edward Jason Jeffrey Ryan Jacob Gary Nicholas
Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Alexander Patrick Frank Raymond Jack Dennis
Jerry Tyler Aaron Jose Adam Nathan Henry Zachary Douglas Peter Kyle Noah Ethan Jeremy Walter Christian Keith Roger
Terry Austin Sean Gerald Carl Harold Dylan Arthur Lawrence Jordan Jesse Bryan Billy Bruce Gabriel Joe Logan Alan
Juan Albert Willie Elijah Wayne Randy Vincent Mason Roy Ralph Bobby Russell Bradley Philip Eugene Mary Patricia
Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Sandra Margaret Ashley Kimberly Emily
Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia Dorothy Amy Kathleen Angela
Shirley Brenda Emma Anna Pamela Nicole Samantha Katherine Christine Helen Debra Rachel Carolyn Janet Maria Catherine
Heather Diane Olivia Julie Joyce Victoria Ruth Virginia Lauren Kelly Christina Joan Evelyn Judith Andrea Hannah
Megan Cheryl Jacqueline Martha Madison Teresa Gloria Sara Janice Ann Kathryn Abigail Sophia Frances Jean Alice Judy
Isabella Julia Grace Amber Denise Danielle Marilyn Beverly Charlotte Natalie Theresa Diana Brittany Doris Kayla
Alexis Lori Marie Oliver Harry Leo Oscar Freddie Archie Isla Ava Mia Freya Priya Raj Amit Anil Sanjay Mohammed
Muhammad Ahmed Ali Omar Fatima Aisha Wei Ming Li Hui Jing Yan Jun Hiroshi Yuki Kenji Carlos Luis Miguel Pedro Ana
Sofia Lucia Hans Klaus Anja Pierre Claire Sven Lars Ingrid Ivan Olga Dmitri Tom Tim Jim Bob Mike Dave Steve Chris
Matt Dan Ben Sam Nick Alex Kate Sue Liz Jenny Ellen Simon Martin Neil Ian Graham Stuart
""")
NO_ENGLISH_NAME = _words("""
Sir Madam Team Customer Customers Support Service Services Sales Street Road Avenue Monday Tuesday Wednesday
Thursday Friday Saturday Sunday January February March April June July August September October November December
The This That Please Your Our New Order Number Store Shop Center Centre Company Inc Ltd Department Office Bank Hotel
Manager Director President Minister All Everyone Friends Sirs Hiring Account Email Phone United States Kingdom China
Beijing Shanghai London Valued Apple Google Amazon
""")
