"""Small templates, each for one thing that chat templates are written with, and what they say to HELLO."""

# ruff: noqa: E501  (a template is its text)

import json
from typing import Any

from refspec.models.template_process import rendered

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hi <b>&'ü"}]
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Two\n\ttwos?"},
    {"role": "assistant", "content": "<think>\nsum\n</think>\n\nFour.", "reasoning": "sum", "tool_calls": None},
    {"role": "user", "content": [{"type": "text", "text": "and three?"}]},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
DATE = "2026-11-07T09:05:03"
LOOP = "{% for m in messages %}"

SMALL = {
    "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}": "<s>Hi <b>&'ü</s>",
    "{{ messages[0]['content']|upper|trim }}": "HI <B>&'Ü",
    "{{ strftime_now('%d %b %Y %H:%M') }}": "07 Nov 2026 09:05",
    "{{ strftime_now('%B %d, %Y') if strftime_now is defined else 'never' }}": "November 07, 2026",
    "{% generation %}{{ messages[0].role }}{% endgeneration %}.": "user.",
    "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}": "21",
    LOOP + "{% generation %}{{ m.role }}{{ loop.index }}{% endgeneration %}{% endfor %}": "user1",
    "{%- generation -%} a {%- endgeneration -%} b": "ab",
    "{{ 'yes' if tools is not none else 'no' }}{{ 'yes' if tools is defined else 'no' }}": "noyes",
    "{{ documents is none }}{{ tools }}{{ add_generation_prompt }}": "TrueNoneTrue",
    "{{ messages[0]|tojson }}": '{"role": "user", "content": "Hi <b>&\'ü"}',
    "{{ messages[0].content|tojson(ensure_ascii=true) }}": '"Hi <b>&\'\\u00fc"',
    "{{ {'b': 1, 'a': [1, 2]}|tojson(indent=2) }}": '{\n  "b": 1,\n  "a": [\n    1,\n    2\n  ]\n}',
    "{{ {'b': 1, 'a': none}|tojson(separators=(',', ':'), sort_keys=true) }}": '{"a":null,"b":1}',
    "{{ messages[0].content|e }}": "Hi &lt;b&gt;&amp;&#39;ü",
    "{% set ns = namespace(n=0) %}" + LOOP + "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}": "1",
    "{% set ns = namespace(self=3, **{'x': 1}) %}{{ ns.self }}{{ ns.x }}": "31",
    "{{ dict(a=1, **{'b': 2}) }}{{ dict([('k', 'v')]).k }}": "{'a': 1, 'b': 2}v",
    "{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}": "02",
    LOOP + "\n    {% if true %}\n  {{ m.role }}\n    {% endif %}\n{% endfor %}\nend": "  user\nend",
    "a\n{# note #}\nb\n": "a\nb",
    "{{ missing }}|{{ missing is defined }}|{{ sep_token }}": "|False|",
    "{{ missing|default('d') }}{{ none|default('d', true) }}": "dd",
    "{% macro say(x, y='!') %}{{ x }}{{ y }}{% endmacro %}{{ say('a') }}{{ say('b', y='?') }}": "a!b?",
    "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in{% endcall %}": "[in]",
    "{% filter upper %}a{{ messages[0].role }}{% endfilter %}": "AUSER",
    "{% set block %}x{{ 1 }}{% endset %}{{ block ~ block }}": "x1x1",
    "{% raw %}{{ not }}{% endraw %}": "{{ not }}",
    "{{ messages[::-1][0].role }}{{ messages[1:]|length }}": "user0",
    "{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}": "b",
    "{{ 'x=%s %d' % ('a', 3) }}{{ '{}-{n}'.format(1, n=2) }}": "x=a 31-2",
    "{{ messages|map(attribute='role')|join(',') }}{{ messages|selectattr('role', 'equalto', 'tool')|list }}": "user[]",
    "{{ [3, 1, 2]|sort|join }}{{ {'b': 1}|items|list }}{{ {'k': 'v'}|dictsort }}": "123[('b', 1)][('k', 'v')]",
    "{% for k, v in {'a': 1}.items() recursive %}{{ k }}{{ v }}{{ loop.first }}{% else %}none{% endfor %}": "a1True",
    "{{ messages[0].content is string }}{{ messages is iterable }}{{ messages[0] is mapping }}": "TrueTrueTrue",
    "{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 3 }}{{ 'ab' * 2 }}{{ 1 if false }}": "338abab",
    "{{ 'Hi'|replace('H', 'J') }}{{ ' x '|trim }}{{ 'a b'|title }}{{ 'abc'|first }}": "JixA Ba",
    "{{ 'ab'|indent(2, true) }}{{ ['a']|string }}{{ '3'|int + 1 }}": "  ab['a']4",
    "{% if 'x' not in 'abc' and messages[0]['role'] != 'system' %}ok{% elif true %}no{% endif %}": "ok",
    "{{ messages[0].get('name', 'none') }}{{ messages[0].keys()|list }}": "none['role', 'content']",
    "{{ raise_exception is defined }}{{ range(3)|list }}{{ lipsum is defined }}": "True[0, 1, 2]True",
    "{% with x = 5 %}{{ x }}{% endwith %}{{ ns is defined }}": "5False",
}

# The features of published templates in templates of our own: dated system turn, tools, thinking, strict alternation
LARGE = [
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content']|trim %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = 'Today: ' + strftime_now('%d %b %Y') %}{% set rest = messages %}{% endif %}[S]{{ system }}[/S]"
    "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% if m.content is string %}{{ '[' ~ m.role ~ ']' ~ m.content|trim ~ eos_token }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}",
    "{%- for m in messages %}\n    {%- if m.reasoning_content is defined %}\n        {{- '<think>' + m.reasoning_content + '</think>' }}\n"
    "    {%- elif m.content is string and '</think>' in m.content %}\n        {{- m.content.split('</think>')[0] }}\n    {%- endif %}\n"
    "    {{- m.role + ':' + (m.content if m.content is string else m.content|tojson) + '\\n' }}\n    {%- if m.tool_calls is defined %}\n"
    "        {{- m.tool_calls|tojson }}\n    {%- endif %}\n{%- endfor %}\n{%- if enable_thinking is defined and not enable_thinking %}\n"
    "    {{- '<think>\\n\\n</think>\\n\\n' }}\n{%- endif %}",
    "{%- if tools %}{%- for tool in tools %}{{ tool|tojson(indent=4) }}\n{% endfor %}{%- endif %}{{ thinking }}"
    "{% for m in messages %}{{ m.thinking }}|{% endfor %}",
]
VARIABLES: list[dict[str, Any]] = [
    {},
    {"enable_thinking": False},
    {"tools": [{"type": "function", "function": {"name": "add", "parameters": {"a": "ü<"}}}], "thinking": True},
]


def answered_here(asked: bytes) -> dict[str, str]:
    """In place of `chat._answered`, where a text is asked for and not what ends it: without the start of a process."""
    return {"text": rendered(json.loads(asked))}
