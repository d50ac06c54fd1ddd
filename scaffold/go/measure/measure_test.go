package measure

import (
	"maps"
	"testing"
)

func TestNumbersAreFoundAmongOtherLines(t *testing.T) {
	text := "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\nprocs_running_or_not 1"
	numbers, err := Parse(text, "processes", "procs_running", "missing")
	if want := map[string]uint64{"processes": 1500, "procs_running": 3}; err != nil || !maps.Equal(numbers, want) {
		t.Errorf("got %v and %v", numbers, err)
	}
}

func TestValueThatIsNotANumberFails(t *testing.T) {
	for _, text := range []string{"processes many\n", "processes \n", "processes", "processes 18446744073709551616\n"} {
		if numbers, err := Parse(text, "processes"); err == nil {
			t.Errorf("%q is %v", text, numbers)
		}
	}
}

func TestRateNeedsTwoTicksAndSurvivesAReset(t *testing.T) {
	var rate Rate
	for _, step := range []struct {
		count, ns uint64
		want      float64
		isThere   bool
	}{{100, 1e9, 0, false}, {110, 3e9, 5, true}, {7, 4e9, 0, false}, {8, 5e9, 1, true}} {
		if got, isThere := rate.PerSecond(step.count, step.ns); got != step.want || isThere != step.isThere {
			t.Errorf("%d at %d is %v, %v", step.count, step.ns, got, isThere)
		}
	}
}
