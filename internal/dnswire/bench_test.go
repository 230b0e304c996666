package dnswire

import "testing"

// benchmarkName is a name of four labels, packedName the same in a message.
var (
	benchmarkName = []byte("\x04host\x06client\x07example\x04test\x00")
	packedName    = append(make([]byte, headerLen), "\x07example\x04test\x00\x06client\xc0\x0c\x04host\xc0\x1a"...)
)

const packedNameAt = headerLen + 23

// benchmarkRdata is rdata of the types that zones have most.
var benchmarkRdata = []struct {
	name     string
	rrtype   uint16
	rdata, b []byte
}{
	{"A", TypeA, []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}},
	{"AAAA", TypeAAAA, make([]byte, 16), append(make([]byte, 15), 1)},
	{"PTR", TypePTR, benchmarkName, []byte("\x04host\x06client\x07example\x04TESU\x00")},
	{"CNAME", TypeCNAME, benchmarkName, []byte("\x04host\x06client\x07EXAMPLE\x04test\x00")},
	{"SRV", TypeSRV, append([]byte{0, 0, 0, 100, 1, 133}, benchmarkName...), append([]byte{0, 0, 0, 100, 1, 133}, "\x04HOST\x06client\x07example\x04test\x00"...)},
}

func TestNoAllocations(t *testing.T) {
	var buf [MaxName]byte
	if name, _, err := UnpackName(nil, packedName, packedNameAt); err != nil || !EqualNames(name, benchmarkName) {
		t.Fatalf("%q, %v", name, err)
	}
	for name, f := range map[string]func(){
		"NameLen":      func() { NameLen(benchmarkName) },
		"CompareNames": func() { CompareNames(benchmarkName, packedName[headerLen:]) },
		"EqualNames":   func() { EqualNames(benchmarkName, benchmarkName) },
		"UnpackName":   func() { _, _, _ = UnpackName(buf[:0], packedName, packedNameAt) },
		"AppendLower":  func() { AppendLower(buf[:0], benchmarkName) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for _, c := range benchmarkRdata {
		if n := testing.AllocsPerRun(100, func() {
			_ = Validate(c.rrtype, c.rdata)
			Compare(c.rrtype, c.rdata, c.b)
			for range Names(c.rrtype, c.rdata) {
			}
			AppendCanonical(buf[:0], c.rrtype, c.rdata)
			_, _ = ExpandRdata(buf[:0], c.rdata, 0, len(c.rdata), c.rrtype)
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkNameLen(b *testing.B) {
	for b.Loop() {
		NameLen(benchmarkName)
	}
}

func BenchmarkUnpackName(b *testing.B) {
	var buf [MaxName]byte
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = UnpackName(buf[:0], packedName, packedNameAt)
	}
}

func BenchmarkCompareNames(b *testing.B) {
	for b.Loop() {
		CompareNames(benchmarkName, benchmarkName)
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, c := range benchmarkRdata {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Validate(c.rrtype, c.rdata)
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	for _, c := range benchmarkRdata {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compare(c.rrtype, c.rdata, c.b)
			}
		})
	}
}

func BenchmarkText(b *testing.B) {
	for _, c := range benchmarkRdata {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf [1024]byte
			for b.Loop() {
				AppendTextOrGeneric(buf[:0], c.rrtype, c.rdata)
			}
		})
	}
}
