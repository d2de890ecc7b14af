// Plays given episodes with the page's own code and prints what happened: see play_parity.py.
"use strict";

/** A hash (FNV-1a) of the bytes of a state, leaf after leaf in the order of their names. */
function hashOf(state) {
  let hash = 0x811c9dc5;
  for (const name of Object.keys(state).sort()) {
    const leaf = state[name];
    for (const byte of new Uint8Array(leaf.buffer, leaf.byteOffset, leaf.byteLength)) hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}

/** Plays one episode on the game's level of that number, with given random words. */
function played(game, {who, level, greedy, bits, keys}) {
  const words = Arrays.decode(bits, "ui32"), key = Arrays.decode(keys, "ui32");
  const episode = new Episode(game, who, game.level(level));
  const found = {actions: [], rewards: [], hashes: [hashOf(episode.state)], logits: []};
  while (!episode.over) {
    const t = episode.t;
    found.logits.push(Array.from(episode.logits, value => Number.isFinite(value) ? value : String(value)));
    episode.step(words.subarray(t, t + 1), greedy, key.subarray(2 * t, 2 * t + 2));
    found.actions.push(episode.action);
    found.rewards.push(episode.lastReward);
    found.hashes.push(hashOf(episode.state));
  }
  return found;
}

function playedAll({data, episodes}) {
  let start = Date.now();
  const game = new Game(data), linking = Date.now() - start;
  start = Date.now();
  const found = episodes.map(one => played(game, one));
  return {linking, playing: Date.now() - start, episodes: found};
}
