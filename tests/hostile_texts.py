"""Hostile texts. Each is a name or a condition that somebody may have written into a tree, a job or a file."""

from __future__ import annotations

NAMES = (
    "..", ".", "../OUT", "../../etc/passwd", "/etc/passwd", "./OUT", "a/../../OUT", "../data/../OUT", "....//OUT",
    "/dev/zero", "/dev/stdin", "/proc/self/mem", "//etc/passwd", "~", "~root/x", "~/.ray/auth_token", "$HOME/x",
    '..\\OUT', '..\\..\\OUT', 'C:\\OUT', '\\\\host\\share', "file:///etc/passwd", "http://127.0.0.1:1/x",
    "%2e%2e%2fOUT", "..%2fOUT", "..%c0%afOUT", '\u2024\u2024/OUT', '\uff0e\uff0e\uff0fOUT', '\uff2f\uff35\uff34',
    'A\u0301', '\u202eTUO', 'OUT\u2028', '\ufeffOUT', '\x00', 'OUT\x00', '../OUT\x00.parquet', 'OUT\n', 'OUT\r\nX',
    '\x1b[2J', '\x1b]0;x\x07', 'OUT\x7f', '\t', " OUT", "OUT ", "", "*", "?", "[A-Z]", "{OUT,X}", "-rf", "--help",
    "OUT;ls", "OUT|ls", "`ls`", "$(ls)", "'OUT'", '"OUT"', "OUT#", "a b", "CON", "NUL", "A" * 33, "A" * 5000,
    "é" * 200, "sample:us20", "OUT", "LOOP", "GONE", "FIFO", "FOLDER", "UP",
)  # fmt: skip
"""Names of tickers, runs, files: those that lead out of a folder, and those that are not what they look like."""

INJECTIONS = (
    "__import__('os').system('true')", "open('/etc/passwd').read()", "eval('1')", "exec('1')",
    "().__class__.__bases__", "n.__class__", "n.__class__.__mro__[1].__subclasses__()", "[x for x in (1,)]",
    "{n for n in n}", "(lambda: 1)() > 0", "lambda n: n", "n if n else n", "n := 3", "(n := 3) > 2", "f'{n}' == '1'",
    "f'{open(1)}' == 'x'", "n[0] > 1", "n.real > 1", "getattr(n, 'x') > 1", "globals()['os'] == 1", "print(n)",
    "await n", "yield n", "*n > 1", "n > 1; import os", 'n > 1\nimport os', "import os", "n ** 9 ** 9 ** 9 > 1",
    "n << 99999999 > 1", "'a' * 10**10 == 'b'", "n @ n > 1", "n // 0 > 1", "n > 1 -- x", "n > 1; DROP TABLE results",
    "n > 1 UNION SELECT * FROM run", "1 = 1", "' OR '1'='1", "n > 1 /* x */", "n IS NULL", "n LIKE '%'",
    "n > (SELECT 1)", "n BETWEEN 1 AND 2", "n > 1 OR load_extension('x')", "ATTACH '/etc/x' AS x", '\\x6e > 1',
    "n > 1e999999", "n > 0x" + "f" * 400, "(" * 400 + "n" + ")" * 400 + " > 1", "n > 1" + " or n > 1" * 400,
    "${n} > 1", "{{ n }} > 1", "%(n)s > 1", "`n` > 1", '\x00 > 1', 'n\x00 > 1', "None > n", "True", "...",
    "n > 1 if open else 2",
)  # fmt: skip
"""Conditions that would do more than compare columns, if anything evaluated them."""

SQL = (
    "x'; DROP TABLE results; --", 'x"; DROP TABLE results; --', "x' OR '1'='1", "); ATTACH '/tmp/x' AS x; --",
    "x\x00'--", "' UNION SELECT load_extension('x') --", "%s", "?1", ":name", "@x", "$x", "`x`", "[x]", "/* x */",
    "-- x", "x\\'; --", "results", "sqlite_master", "blocks", "NULL",
)  # fmt: skip
"""Names that would end a statement of SQL, if they were put into one."""

MARKUP = (
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>", "<svg/onload=alert(1)>", "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>", "<body onload=alert(1)>", '"><script>alert(1)</script>',
    "'><script>alert(1)</script>", '" onmouseover="alert(1)', "' onmouseover='alert(1)", "x` onload=`a",
    "</title><script>alert(1)</script>", "</style><script>alert(1)</script>", "</textarea><b>x</b>", "<!--<script>",
    "--><b>x</b>", "<![CDATA[<b>x</b>]]>", "<?xml x?>", "<base href=//x>", "<meta http-equiv=refresh content=0>",
    "<link rel=stylesheet href=//x>", "<style>*{}</style>", "<math><mi xlink:href=javascript:alert(1)>",
    "<table><td><b>x", "<plaintext>", "<noscript><p title=</noscript>", "&lt;b&gt;x&lt;/b&gt;", "&#60;b&#62;",
    "{{ 7 * 7 }}", "{% raw %}", "${alert(1)}", "%3Cb%3E", '\u2028<b>x', '<b\x00>x', '\ud7ff<b/>',
    "javascript:alert(1)", "<scr<script>ipt>alert(1)</scr</script>ipt>",
)  # fmt: skip
"""Names that would add elements or attributes to a page, if it took them for markup."""
