package maps

import "encoding/binary"

func word(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putWord(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
func wordsOf(key []byte) int     { return (len(key) + 7) / 8 }

// keyWord returns word i of a key that is padded with 0.
func keyWord(key []byte, i int) uint64 {
	if rest := key[8*i:]; len(rest) >= 8 {
		return word(rest)
	} else {
		var last uint64
		for k, c := range rest {
			last |= uint64(c) << (8 * k)
		}
		return last
	}
}

// hashOf returns a key's hash: one multiplication per word. It is part of the layout.
func hashOf(key []byte) uint64 {
	h := uint64(len(key))
	for i := range wordsOf(key) {
		h = (h ^ keyWord(key, i)) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	return h
}
