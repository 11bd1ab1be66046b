package dwarf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// TestAbbrevsBudget has many units that refer to parts of one long table of abbreviations.
func TestAbbrevsBudget(t *testing.T) {
	var abbrev []byte
	for range 1 << 20 {
		abbrev = append(abbrev, 1, 0x11, 0, 0x03, 0x08, 0, 0) // DW_TAG_compile_unit with a name
	}
	abbrev = append(abbrev, 0)
	var info bytes.Buffer
	for i := range 20000 {
		for _, v := range []any{uint32(7 + 1 + 1), uint16(4), uint32(7 * i), uint8(8), uint8(1), uint8(0)} {
			if err := binary.Write(&info, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := ofSections(map[sectionID][]byte{secInfo: info.Bytes(), secAbbrev: abbrev}, false)
	if _, err := d.Names(); !errors.Is(err, elffile.ErrBudget) {
		t.Errorf("%v: want a refusal", err)
	}
}

// TestRangesBudget has many units that refer to one long list of ranges, which are all empty: the
// file is small, and reading all of it is not.
func TestRangesBudget(t *testing.T) {
	abbrev := []byte{1, 0x11, 0, 0x55, 0x17, 0, 0, 0} // DW_TAG_compile_unit with DW_AT_ranges, DW_FORM_sec_offset
	var unit bytes.Buffer
	for _, v := range []any{uint32(7 + 1 + 4), uint16(4), uint32(0), uint8(8), uint8(1), uint32(0)} {
		if err := binary.Write(&unit, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	info := bytes.Repeat(unit.Bytes(), 20000)
	var ranges []byte
	for range 1 << 18 {
		ranges = binary.LittleEndian.AppendUint64(ranges, 5)
		ranges = binary.LittleEndian.AppendUint64(ranges, 5)
	}
	ranges = append(ranges, make([]byte, 16)...)
	d := ofSections(map[sectionID][]byte{secInfo: info, secAbbrev: abbrev, secRanges: ranges}, false)
	if units, err := d.Units(); err != nil || len(units) != 20000 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	if _, err := d.UnitOf(5); !errors.Is(err, elffile.ErrBudget) {
		t.Errorf("%v: want a refusal", err)
	}
}
