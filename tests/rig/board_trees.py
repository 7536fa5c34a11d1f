"""What sysfs and procfs show on the boards we know: paths below a root, and their text.

The Raspberry Pi 4, Orin Nano, laptop and MAX17040 trees follow listings that owners published; the others are put together
from the drivers' documentation and device trees that the profiles in `hardware/` name.
"""

from __future__ import annotations

Tree = dict[str, str]

PSI = "some avg10={0:.2f} avg60=0.00 avg300=0.00 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
MEMINFO = "MemTotal: {0} kB\nMemFree: {1} kB\nMemAvailable: {1} kB\nBuffers: 0 kB\nCached: 0 kB\n"
MEMINFO += "SwapTotal: 0 kB\nSwapFree: 0 kB\nActive: 0 kB\nInactive: 0 kB\nShmem: 0 kB\nSlab: 0 kB\n"
TOTAL_KB = 4_000_000


def device_tree(model: str, *compatible: str) -> Tree:
    base = "sys/firmware/devicetree/base"
    return {
        f"{base}/model": f"{model}\0",
        f"{base}/compatible": "".join(f"{name}\0" for name in compatible),
    }


def zone(index: int, kind: str, temp: str, *trips: tuple[str, int]) -> Tree:
    here = f"sys/class/thermal/thermal_zone{index}"
    tree = {f"{here}/type": f"{kind}\n", f"{here}/temp": temp}
    for number, (trip, at) in enumerate(trips):
        tree |= {
            f"{here}/trip_point_{number}_type": f"{trip}\n",
            f"{here}/trip_point_{number}_temp": f"{at}\n",
        }
    return tree


def hwmon(index: int, name: str, **files: str) -> Tree:
    here = f"sys/class/hwmon/hwmon{index}"
    return {f"{here}/name": f"{name}\n"} | {f"{here}/{file}": f"{text}\n" for file, text in files.items()}


def supply(name: str, **files: str) -> Tree:
    return {f"sys/class/power_supply/{name}/{file}": f"{text}\n" for file, text in files.items()}


def cpufreq(now_khz: int, top_khz: int) -> Tree:
    here = "sys/devices/system/cpu/cpufreq/policy0"
    return {
        f"{here}/scaling_cur_freq": f"{now_khz}\n",
        f"{here}/scaling_max_freq": f"{top_khz}\n",
        f"{here}/scaling_min_freq": "600000\n",
    }


def memory(available_kb: int = 3_000_000) -> Tree:
    return {"proc/meminfo": MEMINFO.format(TOTAL_KB, available_kb)}


def pressure(some: float = 0.0) -> Tree:
    return {f"proc/pressure/{name}": PSI.format(some) for name in ("cpu", "memory", "io")}


def pi(model: str, *compatible: str, millis: int = 48199, top_khz: int = 1_500_000) -> Tree:
    return {
        **device_tree(model, *compatible),
        **zone(0, "cpu-thermal", f"{millis}\n", ("critical", 110000)),
        **hwmon(0, "cpu_thermal", temp1_input=str(millis), temp1_crit="110000"),
        **hwmon(1, "rpi_volt", in0_lcrit_alarm="0"),
        **cpufreq(600_000, top_khz),
        **memory(),
        "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    }


PI4 = pi("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711")
MAX17040 = supply(
    "battery",
    type="Battery",
    capacity="76",
    voltage_now="3915000",
    online="1",
    status="Unknown",
    present="1",
    technology="Li-ion",
)
INA219_2S = hwmon(2, "ina219", in0_input="4", in1_input="7680", curr1_input="-410", power1_input="3148800")
JETSON_RAILS = hwmon(
    0,
    "ina3221",
    in1_label="VDD_IN",
    in1_input="5064",
    curr1_input="920",
    curr1_crit_alarm="0",
    in2_label="VDD_CPU_GPU_CV",
    in2_input="5064",
    curr2_input="128",
    in3_label="VDD_SOC",
    in3_input="5064",
    curr3_input="280",
)
OFF = ""
"""What a powered-down zone reads as: EAGAIN cannot be had from a plain file, an empty one can."""
ORIN_ZONES = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2", "tj")


def orin(model: str, *compatible: str) -> Tree:
    zones: Tree = {}
    for index, name in enumerate(ORIN_ZONES):
        temp = OFF if name.startswith("cv") else f"{49312 - 250 * index}\n"
        zones |= zone(index, f"{name}-thermal", temp, ("hot", 99000), ("critical", 104500))
    return {
        **device_tree(model, *compatible, "nvidia,tegra234"),
        **zones,
        **JETSON_RAILS,
        **hwmon(1, "pwmfan", pwm1="0"),
        **supply("ucsi-source-psy-1-00081", type="USB", online="0"),
        **memory(),
        **pressure(),
        **cpufreq(729_600, 1_510_400),
        "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
        "sys/class/thermal/cooling_device0/cur_state": "1\n",
    }


XAVIER_ZONES = {
    "CPU-therm": 43500,
    "GPU-therm": 42000,
    "AUX-therm": 43000,
    "AO-therm": 42500,
    "PMIC-Die": 100000,
}
NANO_ZONES = {
    "AO-therm": 47500,
    "CPU-therm": 41000,
    "GPU-therm": 40500,
    "PLL-therm": 40500,
    "PMIC-Die": 100000,
}
IIO = "sys/bus/iio/devices/iio:device0"

TREES: dict[str, Tree] = {
    "raspberry-pi-3b-plus": pi(
        "Raspberry Pi 3 Model B Plus Rev 1.3", "raspberrypi,3-model-b-plus", "brcm,bcm2837", top_khz=1_400_000
    ),
    "raspberry-pi-4": PI4,
    "raspberry-pi-5": {
        **pi("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712", top_khz=2_400_000),
        **hwmon(2, "rp1_adc", temp1_input="51230", in1_input="1432"),
        **hwmon(3, "pwmfan", fan1_input="3012", pwm1="75"),
        **hwmon(4, "nvme", temp1_input="39850", temp1_label="Composite", temp1_max="82850", temp1_crit="84850"),
        "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
        "sys/class/thermal/cooling_device0/cur_state": "1\n",
    },
    "raspberry-pi-zero-2-w": {
        path: text
        for path, text in pi(
            "Raspberry Pi Zero 2 W Rev 1.0", "raspberrypi,model-zero-2-w", "brcm,bcm2837", top_khz=1_000_000
        ).items()
        if "hwmon1" not in path
    },
    "raspberry-pi-cm4": {
        **pi("Raspberry Pi Compute Module 4 Rev 1.0", "raspberrypi,4-compute-module", "brcm,bcm2711"),
        "sys/block/mmcblk0/device/life_time": "0x01 0x03\n",
        "sys/block/mmcblk0/device/pre_eol_info": "0x01\n",
    },
    "jetson-nano": {
        **device_tree("NVIDIA Jetson Nano Developer Kit", "nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"),
        **{k: v for i, (name, at) in enumerate(NANO_ZONES.items()) for k, v in zone(i, name, f"{at}\n").items()},
        f"{IIO}/rail_name_0": "POM_5V_IN\n",
        f"{IIO}/in_power0_input": "1834\n",
        f"{IIO}/rail_name_1": "POM_5V_GPU\n",
        f"{IIO}/in_power1_input": "41\n",
        **memory(),
    },
    "jetson-xavier-nx": {
        **device_tree("NVIDIA Jetson Xavier NX Developer Kit", "nvidia,p3509-0000+p3668-0000", "nvidia,tegra194"),
        **{k: v for i, (name, at) in enumerate(XAVIER_ZONES.items()) for k, v in zone(i, name, f"{at}\n").items()},
        **JETSON_RAILS,
        **memory(),
    },
    "jetson-orin-nano": orin("NVIDIA Jetson Orin Nano Developer Kit", "nvidia,p3768-0000+p3767-0005"),
    "jetson-orin-nx": orin("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "nvidia,p3768-0000+p3767-0000"),
    "jetson-agx-orin": orin("NVIDIA Jetson AGX Orin Developer Kit", "nvidia,p3737-0000+p3701-0000"),
    "generic-arm": {
        **device_tree("Radxa ROCK Pi 4B", "radxa,rockpi4b", "rockchip,rk3399"),
        **zone(0, "cpu-thermal", "46111\n", ("passive", 70000), ("passive", 75000), ("critical", 95000)),
        **zone(1, "gpu-thermal", "45000\n", ("passive", 75000)),
        "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
        "sys/class/thermal/cooling_device0/cur_state": "0\n",
        **memory(),
        **pressure(),
    },
    "x86-laptop": {
        **supply("AC", type="Mains", online="1"),
        **supply("BAT0", type="Battery", status="Charging", capacity="63", energy_now="31500000", energy_full="50000000", power_now="9000000", voltage_now="11400000"),
        **supply("hidpp_battery_0", type="Battery", scope="Device", capacity="5", status="Discharging"),
        **hwmon(0, "coretemp", temp1_input="51000", temp1_label="Package id 0", temp1_max="100000", temp1_crit="100000"),
        **memory(),
        **pressure(),
    },
}  # fmt: skip
TREES |= {
    "raspberry-pi-4+max17040": {**PI4, **MAX17040},
    "raspberry-pi-4+ina219": {**PI4, **INA219_2S},
}
