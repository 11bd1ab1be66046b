package symbols

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Bounds of what .gnu_debugdata may ask for. Tables of names unpack to some 7 times
// what they are packed, the most regular ones to 20 times; the largest to some 20 MB,
// with the dictionary of xz -9 (64 MB) at most.
const (
	maxMini       = 64 << 20
	miniFactor    = 32
	miniFloor     = 1 << 20
	maxDictionary = 64 << 20
)

// miniDebug unpacks .gnu_debugdata: an xz-compressed ELF file with a .symtab
// of the functions that .dynsym lacks.
func (f *File) miniDebug() (*symtab, bool) {
	s, ok := f.obj.section(".gnu_debugdata")
	if !ok || s.size > maxMini {
		return nil, false
	}
	b, err := f.obj.data(s)
	if err != nil {
		return nil, false
	}
	plain, err := unpack(b, min(maxMini, miniFloor+miniFactor*len(b)))
	if err != nil {
		return nil, false
	}
	o, err := newObject(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		return nil, false
	}
	return resident(o, f.obj)
}

const xzMagic = "\xfd7zXZ\x00"

var errXZ = errors.New("damaged xz data")

// unpack decompresses one xz stream, to no more than most bytes. The container is read here and not by
// package xz, which takes the memory that a header asks for. Checksums are not
// looked at: a damaged table of names is told by its content.
func unpack(b []byte, most int) ([]byte, error) {
	if len(b) < 12 || string(b[:6]) != xzMagic {
		return nil, errXZ
	}
	check := checkSizes[b[7]&0xf]
	r := bytes.NewReader(b[12:])
	var plain []byte
	for {
		at := len(b) - r.Len()
		if at >= len(b) {
			return nil, errXZ
		}
		if b[at] == 0 { // the index: no more blocks
			return plain, nil
		}
		size := (int(b[at]) + 1) * 4
		if size > len(b)-at {
			return nil, errXZ
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
		return 0, fmt.Errorf("%w: a filter other than LZMA2", errXZ)
	}
	size, err := lzma.DecodeDictCap(p[2])
	if err != nil || size > maxDictionary {
		return 0, fmt.Errorf("%w: dictionary of %d bytes", errXZ, size)
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
		return nil, fmt.Errorf("%w: it unpacks to more than %d bytes", ErrBudget, most)
	}
	return w.Bytes(), nil
}
