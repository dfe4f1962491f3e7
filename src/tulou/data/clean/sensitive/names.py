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
仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝傅萧赖洪阎段万裘楚匡鞠栗郁胥鄢蔺荆谌仝粟茅荀茹糜辜冼
""".replace("\n", "")
COMPOUND_SURNAMES = (
    "欧阳|上官|司马|诸葛|司徒|东方|独孤|南宫|夏侯|皇甫|尉迟|公孙|慕容|令狐|长孙|宇文|端木|百里|"
    "呼延|轩辕|澹台|闻人|赫连|太史"
)
# Not part of a Chinese given name, so the name has ended before it.
ENDS_NAME = frozenset(
    """
的是想要在说来和与跟及或女老师电手地住我你他她它您们已把给买下请求问退订收到有没不很就也都昨今前从因为对被
将会能可该应让叫打寄发付交换还身号这那哪个位了着过吗呢吧啊呀吃喝去走看听做用上里外后者由按往每再又但而且则即只仅所其此些么嘛呗哦嗯需须种款份件页次秒，。、；

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
谷歌 连续 全家 高度 高效 高压 高温 高速 高校 高峰 高层 高档 高价 高质 高清 高考 方面 方形 方式 方法 方向 方位 方块
金属 金色 金银 黄铜 白色 白纸 白菜 石头 石材 石磨 石墨 蓝色 蓝牙 毛衣 毛笔 毛巾 钱款 车票 车站 车牌 车位 车库 温度 温室
温水 单价 单品 单据 单元 单人 单向 常规 常年 成本 成品 成交 成果 成绩 成员 成熟 成立 成分 安心 安检 安定 解除 解约 解冻
连接 连带 包括 包含 管道 管家 管路 项目 程度 平时 平均 平台 平板 平安 平面 水平 施行 时间 应付 计划 计价 明显 明细 明年
明日 向来 祝贺 祝福 牛奶 牛肉 熊猫 鱼塘 花瓶 江河 江湖 路由 路线 路程 路口 马路 马桶 易碎 易损 习惯 顺便 顺利 顺序 顺丰
夏天 夏季 夏日 谢谢 谢意 谢绝
喻为 段落 万一 万分 洪水 楚楚 简直 简易 简体 简短 简便 支付 项链 全程 全额 全套 全天 全款 司空 都会 尚未 尚且 甘愿 宁可
宁愿 房子 房租 房间 房源 房贷 游戏 游览 游泳 党委 冷却 冷冻 冷藏 冷链 严重 严格 严禁 严肃 莫名 莫非 莫大 孔径 常驻 充值
""")
# Words that end in a surname and stand before a title: 语文老师, 基金经理.
ENDS_IN_SURNAME = _words("""
语文 中文 英文 作文 论文 人文 天文 外文 地方 官方 双方 对方 警方 校方 院方 甲方 乙方 我方 各方 公安 保安 治安
国安 基金 资金 奖金 现金 黄金 佣金 最高 提高 升高 日常 正常 经常 工程 流程 课程 编程 行程 历史 中华 完成 合成
道路 线路 汽车 货车 停车 订单 清单 账单 电商 厂商 客商 经商 住房 租房 安全 完全 保全 主管 城管 保管 收费 计费
会计 设计 统计 审计 施工 平方 责任 主任 现任 前任 关于 由于 对于 终于 大于 方向 定向 定项 事项 专项 体温 高温
科学 美术 包装 外包 承包 面包 简单 时光 岩石 宝石 冷冻 法国 食品 配件 水管 血管 接管 托管 保温 网易 贸易 交易
音乐 娱乐 健康 附近 白天 阴阳 太阳 沈阳 贵阳 医药 小学 中学 大学 毛皮
说明 声明 证明 发明 表明 透明 聪明 光明 文明 照明 注明 指明 写明 标明 查明
清单 名单 菜单 表单 保单 运单 面单 工单
下单 开单 传单 孤单 提单 货单 报单 填单 阶段 手段 片段 时段 路段 地段 分段 百万 千万 十万 几万 上万 数万 清楚 防洪 抗洪
古董 商店 材料 水温 常温 低温 恒温 高压 骨折 左右 老黄 长方 大方 后方 前方 东方 西方 南方 北方 我国 强调 广告 报告 警告
网管 监管 不管 尽管 只管 灯管 气管 吸管 钢管 软管 导管 质量 容易 简易 贴金 美金 税金 押金 租金 本金 薪金 罚金 冶金 合金
五金 白金 旅游 导游 上游 下游 网游 手游 天气 烧烤 黑白 空白 表白 明白 坦白 蛋白 灰白 雪白 洁白 汉江 长江 珠江 黑龙 沙龙
水龙 恐龙 尼龙 接龙 卖家 树林 园林 森林 丛林 桂林 吉林 玉林 铁路 公路 马路 走路 网路 电路 管路 水路 思路 短路 铜锣 上海
和平 水平 公平 天平 太平 生平 持平 扁平 开幕 放松 放心 竞品 校车 停车 开车 火车 货车 客车 校外 用于 属于 处于 位于 等于
各付 支付 交付 应付 已付 待付 预付 到付 垫付 现付
多谢 感谢 致谢 答谢
基于 鉴于 限于 在于 便于 善于 小于 低于 高于 至于 过于 介于 出于 源于 急于 敢于 勇于 难于 化石 钻石 玉石 岩石 磁石 矿石
木石 砂石 大麻 芝麻 亚麻 皮革 变革 改革 书店 酒店 黑马 罗马 木马 人马 号码 骑马 赛马 斑马 河马 车马 小米 玉米 大米 厘米
毫米 纳米 平米 花生 棉花 开花 雪花 鲜花 火花 公司 上司 官司 教师 厨师 律师 工师 讲师 大师 名师 药师 法师 导师 技师 画师
""")
# What given names are made of; asked where nothing but a role such as 客户 stands before: 客户王伟, but 客户高度评价.
IN_GIVEN_NAMES = frozenset(
    """
伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂建国志远雨桐子涵浩然思晓东海燕文博梓萱庆玉梅俊嘉怡天宇华红春秋冬
雪云龙飞鹏凤林森斌彬宾辉晖亮峰锋岩鑫铁钢铭钧锐振兴旺荣富贵福禄寿祥瑞吉宁和睦友爱仁义礼智信忠孝廉诚德善美慧惠琴琪
琳瑶瑾瑜璐珍珠珊玲珑莉莲蓉蕾薇芝芬芸苹萍菊菁菲蓓婷婧妍娇媛嫣婉娴姗妮娅娥娣琼瑛莹滢颖楠柳松柏栋梁树桦杉榕槐泉江河
湖波浪清泽润洁淑沛沁津洲渊潇鸿浚淼晨曦旭昊昕晴星月朗阳晶昱昭晗煜炜烨烽炎焱灿炫熙燃玮珂瑄琦琛璇翔翰羽鹤雁鸣凯旋
捷立业创新进奋启航世祖民宏弘扬永恒卫保学诗书画艺欣悦愉欢颜若依伊亦青霜虹景意诺语辰良佳培彦彤影彩素洪宗宪章绍继承
传贤圣哲睿聪毅坚豪雄武威彪骏骥驰跃升达顺安康健元亚仲伯叔季允之乃川山城成诚轩逸逍遥尧舜禹熠懿颂歌丹绮倩茜茹蔓蓝紫
萌芷若苒莎莺岚峻岭崇巍坤堃尘均坡培增奎奕妙姝婕婵孟宜宸家容寅小少尹屹岳帅帆希平年广延廷征律徽心念恩恬悠惟惜戈扬承
拓挺政敬斐昌昂易映晋智暄曼朋权来柔栩根桃桥棠楚榆歆正毓水沐泓洛浦淇温满滔漫潮澄澜灵烁煊爽珏珺琨瑚璞璟甜畅益盈盛真
睦祺禄禾科稼穆竹笑筠简粲紫纯纲绪维缘罡羿翠耀聿舒航舟良艾芊荷莘菡葵蕙虎贝贤贞赫超越跃辛迅运远逊道邦郁酉钊钰铮锦镇
长闻阔陶隆雅雯雷霄霏霖露霆靖韬韵音顺颐飒馨骁魁鲲鹂麒麟黛鼎齐
""".replace("\n", "")
)
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
