"""The player: a page that runs in a browser, in which a student plays beside its teacher.

Host package. `programs` are the rules, the student and the teacher as JAX functions, `stablehlo` writes JAX functions
as data, `game` collects what the page needs of one run, and `webpage` makes the page from `page/`. There `stablehlo.js`
interprets the programs with `arrays.js`, `elements.js` and `operations.js`; `game.js` plays episodes with them; the
others show them and edit levels.
"""
