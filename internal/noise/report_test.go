// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/topology"
)

const schemaFile = "../../docs/noise.schema.json"

// sample is a report of one loop with a gap that is recorded and one that is not.
func sample(complete bool) (*Report, *Record) {
	r := new(Record)
	c := NewCollector(3, r, time.Second, 40*us)
	c.Stay(Stay{At: 11 * us, Duration: 2 * us, ID: "tick", Title: "tick"})
	c.Stay(Stay{At: 30 * us, Duration: us, ID: "nmi", Title: "NMI"})
	r.note(Gap{At: time.Second + 10*us, Length: 5 * us})
	r.note(Gap{At: time.Second + 100*us, Length: 50 * us})
	r.state.Began, r.state.Ran, r.state.CPU = time.Second, time.Millisecond, 3
	report := &Report{Schema: Schema, EndedBy: "trace-limit", Tracing: true, Limits: []string{}, Loop: Settings{Counter: TSC, Threshold: us}}
	report.CPUs = []CPU{c.Finish(c.End(), complete)}
	report.Exceeded = c.Exceeded()
	return report, r
}

func TestCollector(t *testing.T) {
	r, _ := sample(true)
	c := &r.CPUs[0]
	if c.Gaps != 2 || c.Total != 55*us || c.Recorded != (Share{1, 5 * us, 5 * us}) || c.Unexplained != (Share{1, 50 * us, 50 * us}) || c.Unknown != (Share{}) {
		t.Errorf("%+v", c)
	}
	if c.Available != 94.5 || c.Unseen != 1 || len(c.Causes) != 1 || c.Longest[0].Length != 50*us || c.MovedTo != nil {
		t.Errorf("%+v", c)
	}
	if e := r.Exceeded; e == nil || e.CPU != 3 || e.Gap.At != 100*us || e.Gap.Stay != nil {
		t.Errorf("exceeded: %+v", e)
	}
	if r, _ = sample(false); r.CPUs[0].Unexplained.Count != 0 || r.CPUs[0].Unknown != (Share{1, 50 * us, 50 * us}) {
		t.Errorf("with lost events: %+v", r.CPUs[0])
	}
}

func TestSchema(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := sample(true)
	for _, r.EndedBy = range []string{"duration", "interrupt", "trace-limit", "moved", "clock", "exit"} {
		var b bytes.Buffer
		if err := display.Report(&b, r); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", r.EndedBy, err)
		}
	}
}

// The schema has the fields of the Go types, and requires those that are always there.
func TestSchemaIsThatOfTheGoTypes(t *testing.T) {
	type object struct {
		Properties map[string]any
		Required   []string
		Defs       map[string]object `json:"$defs"`
	}
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for name, typ := range map[string]reflect.Type{
		"": reflect.TypeFor[Report](), "host": reflect.TypeFor[topology.Host](), "settings": reflect.TypeFor[Settings](),
		"cpu": reflect.TypeFor[CPU](), "percentile": reflect.TypeFor[Percentile](), "share": reflect.TypeFor[Share](), "interrupts": reflect.TypeFor[Interrupts](),
		"cause": reflect.TypeFor[Cause](), "gap": reflect.TypeFor[ExplainedGap](), "stay": reflect.TypeFor[Stay](), "exceeded": reflect.TypeFor[Exceeded](),
	} {
		schema := root
		if name != "" {
			schema = root.Defs[name]
		}
		var fields, required []string
		for _, f := range reflect.VisibleFields(typ) {
			if f.Anonymous {
				continue
			}
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, tag)
			if options == "" {
				required = append(required, tag)
			}
		}
		for _, f := range fields {
			if schema.Properties[f] == nil {
				t.Errorf("%q lacks %s", name, f)
			}
		}
		slices.Sort(required)
		if slices.Sort(schema.Required); len(schema.Properties) != len(fields) || !slices.Equal(required, schema.Required) {
			t.Errorf("%q has %d properties and requires %q; want %d, %q", name, len(schema.Properties), schema.Required, len(fields), required)
		}
	}
}

func TestText(t *testing.T) {
	r, record := sample(true)
	var text, histogram, percentiles, log, svg bytes.Buffer
	for _, err := range []error{WriteText(&text, r), WriteHistogram(&histogram, r, []*Record{record}), WritePercentiles(&percentiles, []*Record{record}), WriteLog(&log, r, []*Record{record}), WritePlot(&svg, r, []*Record{record})} {
		if err != nil {
			t.Error(err)
		}
	}
	for of, want := range map[*bytes.Buffer][]string{
		&text:        {"94.500000", "unexplained", "tick", "exceeded --trace-limit"},
		&histogram:   {"CPU-003", "\n5 ", "\n49 ", "count: "}, // 50 is counted with those from 49.984 on
		&percentiles: {"Percentile", "Total count    =            2"},
		&log:         {"#[Histogram log format version 1.3]", "Tag=CPU-003,"},
		&svg:         {"CPU 3: 2 gaps, 94.500000 % available; longest 50.0 µs: unexplained"},
	} {
		for _, w := range want {
			if !strings.Contains(of.String(), w) {
				t.Errorf("no %q in\n%s", w, of)
			}
		}
	}
}

// The library reads back what was logged.
func TestLog(t *testing.T) {
	r, record := sample(true)
	r.Started = time.Unix(1700000000, 0)
	var b bytes.Buffer
	if err := WriteLog(&b, r, []*Record{record}); err != nil {
		t.Fatal(err)
	}
	h, err := hdrhistogram.NewHistogramLogReader(&b).NextIntervalHistogram()
	if err != nil {
		t.Fatal(err)
	}
	if h.Tag() != "CPU-003" || h.TotalCount() != 2 || !h.ValuesAreEquivalent(h.Max(), int64(50*us)) || h.StartTimeMs() != 1700000000_000 || h.EndTimeMs() != 1700000000_001 {
		t.Errorf("%s: %d gaps up to %d, from %d to %d", h.Tag(), h.TotalCount(), h.Max(), h.StartTimeMs(), h.EndTimeMs())
	}
}

// Interrupts that the tracer was not notified of are among the unexplained gaps. What came while
// the counts were read says nothing.
func TestTextTellsOfUnseenInterrupts(t *testing.T) {
	r, _ := sample(true)
	for seen, want := range map[uint64]string{10: "", 9: "", 8: "up to 1 can be interrupts", 11: ""} {
		r.CPUs[0].Interrupts = &Interrupts{Kernel: 10, Seen: seen, MayDiffer: 1}
		var b bytes.Buffer
		if err := WriteText(&b, r); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(b.String(), "not notified of"); told != (want != "") || !strings.Contains(b.String(), want) {
			t.Errorf("%d of 10 seen: want %q in\n%s", seen, want, &b)
		}
	}
}

func TestRates(t *testing.T) {
	r, record := sample(true)
	r.CPUs[0].Ran = 4 * time.Second
	lengths, perSecond := rates(record, &r.CPUs[0])
	if !slices.Equal(perSecond, []float64{0.5, 0.25}) || len(lengths) != 2 || lengths[0] > 5000 || lengths[1] < 49_900 {
		t.Errorf("%v at %v", perSecond, lengths)
	}
}
