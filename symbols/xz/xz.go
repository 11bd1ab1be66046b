// Package xz unpacks xz streams that may be damaged or hostile, in no more memory than the caller
// allows. It is pure, and reads but one filter, LZMA2.
package xz

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// mostDictionary is that of xz -9.
const mostDictionary = 64 << 20

const xzMagic = "\xfd7zXZ\x00"

// ErrDamaged is wrapped by errors about what is no xz stream, or one that is not understood.
var ErrDamaged = errors.New("damaged xz data")

// ErrTooLarge is wrapped by errors about what unpacks to more than it may.
var ErrTooLarge = errors.New("it unpacks to more than it may")

// Unpack decompresses one xz stream, to no more than most bytes. The container is read here and not by
// package xz, which takes the memory that a header asks for. Checksums are not
// looked at: a damaged table of names is told by its content.
func Unpack(b []byte, most int) ([]byte, error) {
	if len(b) < 12 || string(b[:6]) != xzMagic {
		return nil, ErrDamaged
	}
	check := checkSizes[b[7]&0xf]
	r := bytes.NewReader(b[12:])
	var plain []byte
	for {
		at := len(b) - r.Len()
		if at >= len(b) {
			return nil, ErrDamaged
		}
		if b[at] == 0 { // the index: no more blocks
			return plain, nil
		}
		size := (int(b[at]) + 1) * 4
		if size > len(b)-at {
			return nil, ErrDamaged
		}
		dict, err := dictionary(b[at : at+size])
		if err != nil {
			return nil, err
		}
		r.Reset(b[at+size:])
		// Nothing is further back than what there can be.
		if plain, err = unpackBlock(r, min(dict, max(most, lzma.MinDictCap)), plain, most); err != nil {
			return nil, err
		}
		// Blocks are padded to 4 bytes, and their check follows.
		used := len(b) - r.Len()
		next := used + (4-(used-at)%4)%4 + check
		r.Reset(b[min(next, len(b)):])
	}
}

// checkSizes are the bytes of each type of integrity check.
var checkSizes = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

// dictionary reads a block header: size, flags, optional sizes, filters, of
// which only LZMA2 is known here.
func dictionary(head []byte) (int, error) {
	flags, p := head[1], head[2:]
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			for len(p) > 0 && p[0]&0x80 != 0 {
				p = p[1:]
			}
			p = p[min(1, len(p)):]
		}
	}
	if flags&3 != 0 || len(p) < 3 || p[0] != 0x21 || p[1] != 1 {
		return 0, fmt.Errorf("%w: a filter other than LZMA2", ErrDamaged)
	}
	size, err := lzma.DecodeDictCap(p[2])
	if err != nil || size > mostDictionary {
		return 0, fmt.Errorf("%w: dictionary of %d bytes", ErrDamaged, size)
	}
	return int(max(size, lzma.MinDictCap)), nil
}

func unpackBlock(r io.Reader, dict int, plain []byte, most int) ([]byte, error) {
	z, err := lzma.Reader2Config{DictCap: dict}.NewReader2(r)
	if err != nil {
		return nil, err
	}
	w := bytes.NewBuffer(plain)
	if _, err := io.Copy(w, io.LimitReader(z, int64(most-len(plain)+1))); err != nil {
		return nil, err
	}
	if w.Len() > most {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, most)
	}
	return w.Bytes(), nil
}
