"""Names and places that sentences with sensitive data are made of."""

from __future__ import annotations

CHINESE_SURNAMES: list[str] = [
    *"王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁于蒋蔡余杜叶程苏魏吕丁任沈",
    "欧阳",
    "上官",
    "司马",
    "诸葛",
]
CHINESE_GIVEN = (
    "伟芳娜敏静秀丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉兰飞鹏辉玲鑫宇浩轩子"
    "涵梓萱欣怡佳琪雨婷文博思远俊熙晨曦志国建红梅春燕小龙海波"
)
ENGLISH_GIVEN = [
    "James",
    "Mary",
    "Robert",
    "Patricia",
    "John",
    "Jennifer",
    "Michael",
    "Linda",
    "David",
    "Elizabeth",
    "William",
    "Barbara",
    "Emma",
    "Oliver",
    "Sophia",
    "Priya",
    "Carlos",
    "Anna",
    "Peter",
    "Grace",
    "Daniel",
    "Laura",
]
ENGLISH_SURNAMES = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Wilson",
    "Anderson",
    "Taylor",
    "Thomas",
    "Moore",
    "Martin",
    "Lee",
    "Thompson",
    "White",
    "Harris",
    "Clark",
    "Lewis",
    "O'Brien",
    "McDonald",
    "Patel",
    "Okafor",
    "Nguyen",
    "Schmidt",
]
CITIES = [
    "北京市朝阳区",
    "上海市浦东新区",
    "广东省深圳市南山区",
    "浙江省杭州市西湖区",
    "四川省成都市武侯区",
    "杭州市余杭区",
    "江苏省苏州市昆山市玉山镇",
    "武汉市洪山区",
    "",
]
STREETS_ZH = [
    "建国路",
    "世纪大道",
    "科技园南路",
    "文三路",
    "天府大道北段",
    "解放东路",
    "人民中路",
    "中山北路",
    "长江西路",
    "翠苑一区",
]
STREETS_EN = [
    "Main Street",
    "Oak Avenue",
    "Elm St",
    "Maple Road",
    "Park Lane",
    "Sunset Blvd",
    "Lakeview Dr",
    "Church Rd",
    "Fifth Avenue",
    "Kings Court",
    "W. Adams Street",
    "North Hill Drive",
]
