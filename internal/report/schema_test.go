// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
)

const schemaFile = "../../docs/report.schema.json"

// schemaObject is as much of a schema as the comparison with Go's types needs.
type schemaObject struct {
	Schema      string `json:"$schema"`
	Ref         string `json:"$ref"`
	Type        string
	Const       any
	Format      string
	Description string
	Required    []string
	Properties  map[string]*schemaObject
	Items       *schemaObject
	Additional  json.RawMessage          `json:"additionalProperties"`
	Defs        map[string]*schemaObject `json:"$defs"`
}

func readSchema(t *testing.T) *schemaObject {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var s schemaObject
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks a report as it is written.
func validate(s *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// The schema has each field of the Go types, described, of the right type, and
// required unless it is left out when empty; and it has no others.
func TestSchemaIsThatOfTheGoTypes(t *testing.T) {
	schema := readSchema(t)
	if schema.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("schema of draft %q", schema.Schema)
	}
	if version := schema.Properties["schema"]; version == nil || version.Const != float64(Schema) {
		t.Errorf("schema describes version %+v, want %d", version, Schema)
	}
	c := schemaChecker{t: t, defs: schema.Defs, seen: make(map[string]bool)}
	c.object("report", schema, reflect.TypeFor[Report]())
	for name := range schema.Defs {
		if !c.seen[name] {
			t.Errorf("the schema defines %s, which no report has", name)
		}
	}
}

type schemaChecker struct {
	t    *testing.T
	defs map[string]*schemaObject
	seen map[string]bool
}

func (c *schemaChecker) object(path string, s *schemaObject, typ reflect.Type) {
	if s.Type != "object" || s.Description == "" {
		c.t.Errorf("%s: type %q, description %q; want an object with a description", path, s.Type, s.Description)
	}
	if s.Additional != nil {
		c.t.Errorf("%s: additional properties are %s; a field that is new in a later version must not break the schema", path, s.Additional)
	}
	unknown := make(map[string]bool)
	for name := range s.Properties {
		unknown[name] = true
	}
	var required []string
	for f := range structFields(typ) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if options == "" {
			required = append(required, name)
		}
		delete(unknown, name)
		c.property(path+"."+name, s.Properties[name], f.Type)
	}
	slices.Sort(required)
	if slices.Sort(s.Required); !slices.Equal(s.Required, required) {
		c.t.Errorf("%s: required are %q, want %q", path, s.Required, required)
	}
	for name := range unknown {
		c.t.Errorf("%s.%s: no such field", path, name)
	}
}

func structFields(typ reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(typ) { // those of an embedded struct are its own in JSON
			if f.Tag.Get("json") != "-" && !f.Anonymous && !yield(f) {
				return
			}
		}
	}
}

func (c *schemaChecker) property(path string, s *schemaObject, typ reflect.Type) {
	if s == nil {
		c.t.Errorf("%s is not in the schema", path)
		return
	}
	if !strings.HasSuffix(s.Description, ".") {
		c.t.Errorf("%s: description %q is not a sentence", path, s.Description)
	}
	if strings.HasSuffix(path, "_ns") != strings.Contains(s.Description, "in nanoseconds") {
		c.t.Errorf("%s: description %q and its unit", path, s.Description)
	}
	c.value(path, s, typ)
}

func (c *schemaChecker) value(path string, s *schemaObject, typ reflect.Type) {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := schemaType(typ)
	switch {
	case path == "report.schema":
	case want == "object" && typ.Kind() == reflect.Struct:
		c.reference(path, s, typ)
	case s.Type != want:
		c.t.Errorf("%s: type %q, want %q", path, s.Type, want)
	case want == "array":
		c.value(path+"[]", s.Items, typ.Elem())
	case want == "object":
		var values schemaObject
		if err := json.Unmarshal(s.Additional, &values); err != nil {
			c.t.Errorf("%s: its values have no type: %v", path, err)
			return
		}
		c.value(path+"{}", &values, typ.Elem())
	case typ == reflect.TypeFor[time.Time]() && s.Format != "date-time":
		c.t.Errorf("%s: format %q, want date-time", path, s.Format)
	}
}

// reference checks a struct, which the schema defines under the name of its type.
func (c *schemaChecker) reference(path string, s *schemaObject, typ reflect.Type) {
	name := lowerFirst(typ.Name())
	if s.Ref != "#/$defs/"+name {
		c.t.Errorf("%s refers to %q, want %s", path, s.Ref, name)
	}
	def := c.defs[name]
	switch {
	case def == nil:
		c.t.Errorf("%s: the schema does not define %s", path, name)
	case !c.seen[name]:
		c.seen[name] = true
		c.object(name, def, typ)
	}
}

// lowerFirst returns the name of a type as the schema has it.
func lowerFirst(s string) string {
	if strings.ToUpper(s) == s {
		return strings.ToLower(s)
	}
	return string(unicode.ToLower(rune(s[0]))) + s[1:]
}

func schemaType(typ reflect.Type) string {
	switch typ {
	case reflect.TypeFor[cpulist.Set](), reflect.TypeFor[time.Time]():
		return "string"
	}
	switch kind := typ.Kind(); {
	case kind >= reflect.Int && kind <= reflect.Uint64:
		return "integer"
	case kind == reflect.Slice:
		return "array"
	case kind == reflect.Bool:
		return "boolean"
	case kind == reflect.String:
		return "string"
	default:
		return "object"
	}
}

// Each report that the other tests print is one that the schema allows.
func TestSamplesFollowTheSchema(t *testing.T) {
	schema := compileSchema(t)
	for name, r := range samples(t) {
		var b bytes.Buffer
		if err := display.Report(&b, r); err != nil {
			t.Fatal(err)
		}
		if err := validate(schema, b.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	for name, change := range map[string]func(map[string]any){
		"another version":     func(r map[string]any) { r["schema"] = Schema + 1 },
		"a field gone":        func(r map[string]any) { delete(r, "lost") },
		"text for a number":   func(r map[string]any) { r["duration_ns"] = "1 s" },
		"a fraction":          func(r map[string]any) { r["duration_ns"] = 1.5 },
		"an unknown verdict":  func(r map[string]any) { cpuOf(r)["verdict"] = "fine" },
		"a negative duration": func(r map[string]any) { cpuOf(r)["user_ns"] = -1 },
		"no time":             func(r map[string]any) { r["started"] = "yesterday" },
		"null for a list":     func(r map[string]any) { r["cpus"] = nil },
	} {
		var b bytes.Buffer
		if err := display.Report(&b, readSample(t, "busy")); err != nil {
			t.Fatal(err)
		}
		var r map[string]any
		if err := json.Unmarshal(b.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		change(r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if validate(schema, text) == nil {
			t.Errorf("%s is allowed", name)
		}
	}
	var b bytes.Buffer
	if err := display.Report(&b, readSample(t, "busy")); err != nil {
		t.Fatal(err)
	}
	later := bytes.Replace(b.Bytes(), []byte(`"verdict"`), []byte(`"new_field": 1, "verdict"`), 1)
	if err := validate(schema, later); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
}

func cpuOf(r map[string]any) map[string]any { return r["cpus"].([]any)[0].(map[string]any) }
