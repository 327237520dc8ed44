// SPDX-License-Identifier: Apache-2.0

package abi

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func header(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../include/taskiso/taskiso.h")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNumbersAreThoseOfTheHeader(t *testing.T) {
	text := header(t)
	want := map[string]string{
		"PR_TASK_ISOLATION":              fmt.Sprint(SetTaskIsolation),
		"PR_TASK_ISOLATION_ENABLE":       bit(Enable),
		"PR_TASK_ISOLATION_USERSIG":      bit(UserSig),
		"PR_TASK_ISOLATION_SET_SIG(sig)": fmt.Sprintf("(((sig) & %#x) << %d)", SignalMask, SignalShift),
		"TASKISO_PAGES":                  bit(Pages),
		"TASKISO_SLOT":                   bit(Slot),
		"TASKISO_STORIES":                bit(Stories),
		"TASKISO_WINDOW":                 bit(Window),
		"TASKISO_ASKS":                   bit(Asks),
		"TASKISO_VERSION":                fmt.Sprint(Version),
		"TASKISO_PAGE_SIZE":              fmt.Sprint(PageSize),
	}
	for name, value := range want {
		if !strings.Contains(text, "#define "+name+" "+value+"\n") && !strings.Contains(text, "#define "+name+" "+value+" /*") {
			t.Errorf("the header does not define %s as %s", name, value)
		}
	}
	// Each number of the header is one of those above.
	for _, m := range regexp.MustCompile(`(?m)^#define ((?:PR|TASKISO)_\S+) \(?\(?[1-9(]`).FindAllStringSubmatch(text, -1) {
		if _, known := want[m[1]]; !known {
			t.Errorf("%s is not compared", m[1])
		}
	}
}

// The BPF programs, which cannot include the header, have the same numbers.
func TestNumbersAreThoseOfThePrograms(t *testing.T) {
	text, err := os.ReadFile("../trace/bpf/isolation.h")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]int{
		"PR_TASK_ISOLATION":     SetTaskIsolation,
		"PR_GET_TASK_ISOLATION": GetTaskIsolation,
		"ISOLATION_ENABLE":      Enable,
		"STATUS_VERSION":        Version,
		"STATUS_SIZE":           PageSize,
	} {
		if want := fmt.Sprintf("#define %s %d\n", name, value); !strings.Contains(string(text), want) {
			t.Errorf("isolation.h does not have %q", want)
		}
	}
}

func bit(flag int) string {
	for n := range 63 {
		if flag == 1<<n {
			return fmt.Sprintf("(1 << %d)", n)
		}
	}
	return "not one bit"
}

// field is one of a structure: where it is, and of what size.
type field struct {
	name         string
	offset, size int
}

func TestLayoutIsThatOfTheHeader(t *testing.T) {
	text := header(t)
	for _, tc := range []struct {
		name string
		here reflect.Type
		want []field // the contract
		size int
	}{
		{"taskiso_status", reflect.TypeFor[Status](), []field{
			{"version", 0, 4}, {"isolated", 4, 4}, {"seq", 8, 4}, {"tid", 12, 4}, {"entered", 16, 8}, {"since", 24, 8},
			{"breaks", 32, 8}, {"time", 40, 8}, {"detail", 48, 8}, {"cause", 56, 4}, {"cpu", 60, 4},
		}, 64},
		{"taskiso_story", reflect.TypeFor[Story](), []field{
			{"seq", 0, 4}, {"pad", 4, 4}, {"time", 8, 8}, {"id", 16, 64}, {"text", 80, 1024},
		}, 1104},
		{"taskiso_ask", reflect.TypeFor[Ask](), []field{{"snapshot", 0, 4}}, 4},
	} {
		here := fieldsHere(tc.here)
		if int(tc.here.Size()) != tc.size || tc.size > PageSize || !reflect.DeepEqual(here, tc.want) {
			t.Errorf("%v has %d bytes, and fields %v; want %d, %v", tc.here, tc.here.Size(), here, tc.size, tc.want)
		}
		if there := fieldsOfHeader(t, text, tc.name); !reflect.DeepEqual(there, tc.want) {
			t.Errorf("struct %s of the header has %v, want %v", tc.name, there, tc.want)
		}
	}
}

func fieldsHere(of reflect.Type) []field {
	var fields []field
	for i := range of.NumField() {
		f := of.Field(i)
		fields = append(fields, field{strings.ToLower(f.Name), int(f.Offset), int(f.Type.Size())})
	}
	return fields
}

// fieldsOfHeader places the fields of a structure as a C compiler does: each at a
// multiple of the size of its type.
func fieldsOfHeader(t *testing.T, text, name string) []field {
	t.Helper()
	_, body, found := strings.Cut(text, "struct "+name+" {\n")
	body, _, ended := strings.Cut(body, "\n};")
	if !found || !ended {
		t.Fatalf("no struct %s in the header", name)
	}
	var fields []field
	end := 0
	for line := range strings.Lines(body) {
		m := regexp.MustCompile(`^\t(uint32_t|uint64_t|char) (\w+)(?:\[(\d+)\])?;`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("a line of struct %s that is not understood: %q", name, line)
		}
		align := map[string]int{"uint32_t": 4, "uint64_t": 8, "char": 1}[m[1]]
		count := 1
		if m[3] != "" {
			count, _ = strconv.Atoi(m[3]) // digits
		}
		end = (end + align - 1) / align * align
		fields = append(fields, field{m[2], end, align * count})
		end += align * count
	}
	return fields
}
