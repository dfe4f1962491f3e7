"""The card's style: light and dark, wide and narrow, and on paper."""

TABLE = """
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{text-align:left;vertical-align:top;padding:5px 16px 5px 0;border-top:1px solid var(--line)}
td{white-space:nowrap}td.long{white-space:normal;overflow-wrap:break-word;min-width:240px}
th{color:var(--soft);font-weight:600;border-top:0;font-size:13px;vertical-align:bottom;word-break:keep-all}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td:last-child,th:last-child{padding-right:0}
"""

STYLE = (
    TABLE
    + """
:root{color-scheme:light dark;--ink:#1d2126;--soft:#66707a;--line:#e3e6e9;--page:#f7f7f5;--card:#fff;--a:#2f7d5b;
--b:#b4533c;--c:#3b6ea5;--track:#eef0f2;--warn:#fbe9d7}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#98a1a9;--line:#31363b;--page:#16181a;--card:#1e2124;
--a:#4fa87f;--b:#d0755f;--c:#6f9fd2;--track:#2a2e33;--warn:#3a2c1c}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,"PingFang SC","Microsoft YaHei",
"Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif;-webkit-text-size-adjust:100%}
section,.columns>div{min-width:0}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:24px;line-height:1.3;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:19px;margin:0 0 4px}
h3{font-size:14px;margin:26px 0 8px;color:var(--soft);font-weight:600}
p{margin:6px 0}
.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px 24px 24px;margin-top:20px}
section.warn{background:var(--warn);border-color:transparent}
.facts{display:flex;flex-wrap:wrap;gap:10px 30px;margin:12px 0 4px}
.facts b{display:block;font-size:21px;line-height:1.25;font-variant-numeric:tabular-nums}
.facts span{color:var(--soft);font-size:13px}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:4px 40px}
ul{margin:8px 0;padding-left:20px}
code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--track);border-radius:6px;
padding:10px 12px;font-size:12px}
details summary{cursor:pointer;color:var(--soft)}
svg{display:block;width:100%;height:auto;margin-top:8px}
svg text{font:12px system-ui,"PingFang SC","Microsoft YaHei","WenQuanYi Micro Hei",sans-serif;fill:var(--ink)}
svg text.n{fill:var(--soft);font-size:11px}svg text.end{text-anchor:end}
svg text.middle,svg text.count{text-anchor:middle}
svg text.count{font-size:10px}
.search{max-width:640px;margin-top:14px;overflow-x:auto}.search svg{min-width:520px}
svg .frame{fill:none;stroke:var(--line)}
svg .ideal{stroke:var(--soft);stroke-dasharray:5 4}svg .now{stroke:var(--a);stroke-width:2}
svg .a{fill:var(--a)}svg .b{fill:var(--b)}svg .c{fill:var(--c)}svg .wrong{fill:var(--b)}
svg path.line{fill:none;stroke-width:2}svg path.line.a{stroke:var(--a)}svg path.line.b{stroke:var(--b)}
svg path.line.c{stroke:var(--c)}
@media(max-width:640px){main{padding:20px 12px 40px}
section{padding:16px 14px 18px}td,th{padding-right:9px;font-size:13px}}
@media print{:root{color-scheme:light;--page:#fff}body{font-size:12px;print-color-adjust:exact}
main{max-width:none;padding:0}section{border:0;border-top:2px solid var(--line);border-radius:0}
svg,tr{break-inside:avoid}}
"""
)
