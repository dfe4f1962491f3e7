"""The page's style: light and dark, wide and narrow, and on paper."""

STYLE = """
:root{color-scheme:light dark;--ink:#1d2126;--soft:#66707a;--line:#e3e6e9;--page:#f7f7f5;--card:#fff;--keep:#2f7d5b;
--drop:#b4533c;--change:#3b6ea5;--flow:#8a94a0;--mark:#fbe3a2;--track:#eef0f2}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#98a1a9;--line:#31363b;--page:#16181a;--card:#1e2124;
--keep:#4fa87f;--drop:#d0755f;--change:#6f9fd2;--flow:#727c87;--mark:#5c4a14;--track:#2a2e33}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,"PingFang SC","Microsoft YaHei",
"Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:24px;line-height:1.3;margin:0 0 4px}
h2{font-size:20px;margin:0 0 2px;overflow-wrap:anywhere}
h3{font-size:14px;margin:30px 0 10px;color:var(--soft);font-weight:600}
h3 small{font-weight:400;font-size:13px}
p{margin:6px 0}
.lead,.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:22px 24px 26px;margin-top:22px}
nav{margin-top:10px;display:flex;flex-wrap:wrap;gap:4px 16px}
a{color:var(--change)}
.facts{display:flex;flex-wrap:wrap;gap:10px 30px;margin:12px 0 4px}
.facts b{display:block;font-size:21px;line-height:1.25;font-variant-numeric:tabular-nums}
.facts span{color:var(--soft);font-size:13px}
svg.flow{display:block;width:100%;height:auto;margin-top:14px}
svg.narrow{display:none}
svg text{font:13px system-ui,"PingFang SC","Microsoft YaHei","WenQuanYi Micro Hei",sans-serif;fill:var(--ink)}
svg text.n{fill:var(--soft);font-size:12px}
svg .source{fill:var(--flow)}svg .kept{fill:var(--keep)}svg .dropped{fill:var(--drop)}
svg path{opacity:.5}svg path.kept{opacity:.6}svg path:hover{opacity:.85}
.bars{display:grid;grid-template-columns:minmax(120px,260px) 1fr max-content;gap:5px 14px;align-items:center}
.bars>div{display:contents}
.bar{display:block;background:var(--track);border-radius:3px;height:12px;overflow:hidden}
.bar i{display:block;height:100%;border-radius:3px;min-width:2px}
.keep{background:var(--keep)}.drop{background:var(--drop)}.change{background:var(--change)}.plain{background:var(--flow)}
.n{font-variant-numeric:tabular-nums}
.bars .n{text-align:right;color:var(--soft);font-size:13px}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr));gap:0 40px}
.columns .bars{grid-template-columns:minmax(70px,max-content) 1fr max-content}
details{border-top:1px solid var(--line);padding:9px 0}
details:last-of-type{border-bottom:1px solid var(--line)}
summary{cursor:pointer;display:grid;grid-template-columns:minmax(120px,260px) 1fr max-content;gap:4px 14px;
align-items:center;list-style:none}
summary::-webkit-details-marker{display:none}
summary .n{color:var(--soft);font-size:13px}
summary code{display:block;color:var(--soft);font-size:12px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:6px 14px;margin:8px 0 2px;font-size:14px;line-height:1.5}
.pair div{background:var(--track);border-radius:6px;padding:7px 10px;white-space:break-spaces;
overflow-wrap:anywhere;min-width:0}
.pair .one{grid-column:1/-1}
.pair b{display:block;font-weight:400;font-size:12px;color:var(--soft)}
mark{background:var(--mark);color:inherit;border-radius:2px}
.unseen{color:var(--drop);font-size:11px;letter-spacing:-.02em}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{text-align:left;vertical-align:top;padding:5px 16px 5px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600;border-top:0;font-size:13px}
td.n,th.n{text-align:right;white-space:nowrap}
td.share{width:24%;vertical-align:middle;padding-right:0}
code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;overflow-wrap:anywhere}
@media(max-width:640px){
main{padding:20px 12px 40px}
section{padding:16px 14px 18px}
svg.wide{display:none}svg.narrow{display:block}
.facts{gap:8px 22px}.facts b{font-size:18px}
.bars,summary{grid-template-columns:1fr max-content}
.bars .bar,summary .bar{grid-column:1/-1;grid-row:2;height:7px}
.bars>div{display:grid;grid-column:1/-1;grid-template-columns:1fr max-content;gap:2px 10px}
.columns .bars{grid-template-columns:1fr max-content}
.pair{grid-template-columns:1fr}
td,th{padding-right:9px;font-size:13px}
td.share,th.share{display:none}
}
@media print{
:root{color-scheme:light;--page:#fff}
body{font-size:12px;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main{max-width:none;padding:0}
section{border:0;border-top:2px solid var(--line);border-radius:0;padding:14px 0}
nav{display:none}
.pair,tr,.bars>div,svg{break-inside:avoid}
h2,h3,summary{break-after:avoid}
}
"""
