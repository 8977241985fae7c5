"""Conformance: one set of scenarios, the same frames through several bridges, every difference declared.

`scenarios/*.toml` say what must happen (`scenario`, `notation`), `targets/` are the bridges behind one interface
(`target`), `runner` plays a scenario on a target. What another bridge does differently is declared beside the
expectation and shown in docs/differences.md (`page`); a declared difference that is none fails as well. Where the
scenarios are from, and what plays other cases of those sources, is in docs/catalogue.md (`catalogue`).
"""
